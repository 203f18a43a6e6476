// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package events sends Events, and remembers none. client-go's recorder keeps each for 6 to
// 12 minutes to count repetitions, which is most of the memory of an operator whose jobs
// end often; the operator sends few repetitions.
package events

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/reference"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// maxInFlight limits the Events that are being sent. More are dropped: the API server
	// is too slow for them.
	maxInFlight = 1000
	// sendTimeout limits how long sending an Event takes.
	sendTimeout = time.Minute
)

var errTooSlow = errors.New("too many Events are being sent")

// Recorder sends Events.
type Recorder struct {
	client     client.Client
	controller string
	instance   string
	log        logr.Logger
	inFlight   chan struct{}
}

// NewRecorder returns a recorder that sends the Events of a controller.
func NewRecorder(c client.Client, controller string, log logr.Logger) *Recorder {
	hostname, _ := os.Hostname() // for people; not needed
	return &Recorder{c, controller, controller + "-" + hostname, log, make(chan struct{}, maxInFlight)}
}

// Eventf implements the EventRecorder of client-go. It does not block, and does not retry:
// the API server has just stored what an Event is about.
func (r *Recorder) Eventf(regarding, _ runtime.Object, eventType, reason, action, note string, args ...any) {
	about, err := reference.GetReference(r.client.Scheme(), regarding)
	if err != nil {
		r.log.Error(err, "an Event has no object", "reason", reason)
		return
	}
	event := &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: about.Namespace, GenerateName: about.Name + "-"},
		EventTime:           metav1.NowMicro(),
		ReportingController: r.controller,
		ReportingInstance:   r.instance,
		Action:              action,
		Reason:              reason,
		Regarding:           *about,
		Note:                fmt.Sprintf(note, args...),
		Type:                eventType,
	}
	select {
	case r.inFlight <- struct{}{}:
		go func() {
			defer func() { <-r.inFlight }()
			r.send(event)
		}()
	default:
		r.log.Error(errTooSlow, "an Event was dropped", "reason", reason)
	}
}

func (r *Recorder) send(event *eventsv1.Event) {
	//nolint:forbidigo // it is sent even if the operator is told to stop
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	if err := r.client.Create(ctx, event); err != nil {
		r.log.Error(err, "an Event was not sent", "reason", event.Reason)
	}
}
