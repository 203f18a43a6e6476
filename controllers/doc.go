// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers reconciles DLIJobs and DLIConnections: it turns DLI's
// responses into status, conditions and Events.
//
// It does not send requests to DLI. The poller does, and keeps each response until it is
// stored. Two controllers of DLIJobs stand around it, one way each: the poll controller
// tells the poller what to poll, and never writes; the status controller takes the latest
// result, derives the status from it, and writes that once. So a slow API server delays
// no poll, and no response has to be requested twice.
//
// The files in reading order:
//
//	setup.go                     which changes of which objects each controller watches
//	poll_controller.go           which jobs the poller polls, and how
//	status_controller.go         the steps: settle, record, derive, write, announce
//	status.go                    from a response or failure to the fields of the status
//	conditions.go                from the fields to conditions
//	size.go                      how large a status may be, and all that a namespace's connections cause
//	timers.go                    deadlines, stalls and TTLs: when the next check is due
//	ownership.go                 whose status it is: this process's own, another operator's
//	                             or that of another hand
//	writes.go                    how a status is written, and how many writes may be in flight
//	events.go                    Events and log lines after a write
//	dliconnection_controller.go  credentials of DLIConnections, and their status
//	watches.go                   what enqueues objects besides their own changes; how failures are retried
//	options.go                   the options of the controllers
//
// status.go, conditions.go and timers.go are functions of the object, the result and the
// time; their tests need no API server. The only state is in ownership.go: what this
// process has written, per object; in size.go: how much, in this minute; and in the poller.
//
// The time that functions take as "now" is that of their call.
package controllers
