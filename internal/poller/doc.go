// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package poller polls the status of jobs from DLI, and keeps each result until it is
// stored. It knows nothing of objects or their conditions, and sends nothing by itself:
// whether a request may be sent is the decision of package connection.
//
// In reading order:
//
//	poller.go      the API, the loop, and the queue of each connection
//	queue.go       whose turn it is, and what holds the others back
//	requests.go    sends requests, and acts on their responses
//	lists.go       when a connection's jobs are listed, and whether its lists are right
//	list_round.go  the pages of one list
//	results.go     what a response changes, and the one rule of what is news
//	progress.go    the percentage of a running job, and the cost of one that has ended
//	schedule.go    when a job is polled next
//	job.go         what is watched, and what is known about it
//
// Each file uses those below it. Results, lists and progress change the state that
// they are given and return a decision; the queue acts on it.
//
// Who owns what: the Poller owns the jobs and the queues, by key. A queue owns the order
// in which its jobs wait, its requests in flight and its lists. Neither keeps a
// connection: it is looked up by its key whenever it is needed. One lock, in shared,
// guards all of it, and is never held during a request.
//
// A parameter named now is the time of the call. Times are compared with the monotonic
// clock of this process; times of DLI's clock are only compared with each other.
package poller
