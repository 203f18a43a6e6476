/*
Copyright 2026 The DLI Operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

// Package controllers reconciles DLIJobs and DLIConnections: it turns DLI's
// responses into status, conditions and Events.
//
// It does not send requests to DLI. The poller does, and keeps each response until
// it is stored; a reconcile takes the latest one, derives the status from it, and
// writes that once. So a slow API server does not delay polls, and no response has
// to be requested twice.
//
// The files follow one reconcile of a DLIJob:
//
//	setup.go                     which changes enqueue which objects
//	poll_controller.go           what the poller needs to know about a DLIJob
//	status_controller.go         the steps: read, record, write, announce
//	status.go                    from a response or failure to the fields of the status
//	conditions.go                from the fields to conditions
//	timers.go                    deadlines, stalls and TTLs: when the next check is due
//	changes.go                   whether a change is worth a write
//	ownership.go                 what this process has written, to recognize its own writes,
//	                             a stale cache, and a status that something else changed
//	events.go                    Events and log lines after a write
//	dliconnection_controller.go  credentials of DLIConnections, and their status
//	metrics.go                   counters, and gauges over the cache
//
// status.go, conditions.go, timers.go and changes.go are functions of the object, the
// result and the time; their tests need no API server.
package controllers
