// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// process is an operator in which every connection always has a job to poll.
type process struct {
	*Registry
	connections []*Connection
}

// statuses are what the statuses of connections say, by their names.
type statuses map[string]*v1alpha1.RejectedCredentials

func (statuses) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("only lists")
}

func (s statuses) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	list := into.(*v1alpha1.DLIConnectionList)
	for name, stored := range s {
		object := object(name)
		object.Status.RejectedCredentials = stored.DeepCopy()
		list.Items = append(list.Items, *object)
	}
	return nil
}

// start starts a process with connections that use the given credentials, and whose
// objects have the given statuses.
func start(t *testing.T, statuses statuses, creds map[string]dli.Credentials, at time.Time) *process {
	t.Helper()
	r, now := registry(answering)
	now.SetTime(at)
	r.reader = statuses
	p := &process{Registry: r}
	for _, name := range slices.Sorted(maps.Keys(creds)) {
		object := object(name)
		object.Status.RejectedCredentials = statuses[name]
		conn := r.Configure(object)
		conn.credentials.fetch = (&source{creds: creds[name], now: now}).fetch
		if _, _, err := conn.Refresh(t.Context(), object.Status.RejectedCredentials, at); err != nil {
			t.Fatal(err)
		}
		p.connections = append(p.connections, conn)
	}
	return p
}

// work does what the reconcilers and queues of a process do at one time. It calls
// answer for each request that is sent.
func (p *process) work(statuses statuses, now time.Time, answer func(dli.Credentials) *dli.Error) {
	for _, conn := range p.connections {
		name := conn.Key.Name
		conn.credentials.setStored(statuses[name], now)
		conn.Decide(now)
		statuses[name] = conn.credentials.toStore(now)
		conn.credentials.setStored(statuses[name], now)
		if conn.Decide(now).Admit == AdmitNone {
			continue
		}
		request := conn.Begin(now, CallStatus, dli.JobTypeSQL, "job", "")
		_ = conn.requestDone(request, failureOf(answer(request.creds), "c"), now)
	}
}

func key(secret string) dli.Credentials {
	return dli.Credentials{AccessKeyID: "AK", SecretAccessKey: secret}
}

// wrongKeys are different wrong secrets of one access key, by the names of connections.
func wrongKeys(n int) map[string]dli.Credentials {
	creds := map[string]dli.Credentials{}
	for i := range n {
		creds[string(rune('a'+i))] = key(strconv.Itoa(i))
	}
	return creds
}

// mostTries is how many times are in any five minutes at most.
func mostTries(tries []time.Time) (most int) {
	for i := range tries {
		n := 1
		for n <= i && tries[i].Sub(tries[i-n]) < 5*time.Minute {
			n++
		}
		most = max(most, n)
	}
	return most
}

// An access key is tried with a wrong signature at most four times in any five minutes, by
// each process.
func TestWrongSignaturesOfOneKey(t *testing.T) {
	rejection := &dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}
	check := func(t *testing.T, tries []time.Time, most int) {
		t.Helper()
		if n := mostTries(tries); n > most {
			t.Errorf("%d within five minutes, want %d at most", n, most)
		}
		if len(tries) < 34 {
			t.Errorf("%d in an hour, so nobody would notice that it is accepted again", len(tries))
		}
	}
	for name, test := range map[string]struct {
		creds     map[string]dli.Credentials
		processes int
		// restart is how long a process lives; 0 for ever.
		restart time.Duration
		// between is the response to every other request; a rejection if nil.
		between *dli.Error
		most    int
	}{
		"by one connection":                     {creds: wrongKeys(1), processes: 1, most: 3},
		"with other failures in between":        {creds: wrongKeys(1), processes: 1, between: &dli.Error{Kind: dli.KindRetry, HTTPStatus: 502}, most: 5},
		"by connections with one Secret":        {creds: map[string]dli.Credentials{"a": key("1"), "b": key("1")}, processes: 1, most: 3},
		"by connections with different Secrets": {creds: wrongKeys(4), processes: 1, most: 4},
		"by two processes":                      {creds: wrongKeys(1), processes: 2, most: 4},
		"by two processes, different Secrets":   {creds: wrongKeys(8), processes: 2, most: 8},
		"by a process that always starts anew":  {creds: wrongKeys(1), processes: 1, restart: 20 * time.Second, most: 4},
		"by two processes that start anew":      {creds: wrongKeys(1), processes: 2, restart: 100 * time.Second, most: 4},
		"by different Secrets, starting anew":   {creds: wrongKeys(4), processes: 1, restart: 20 * time.Second, most: 4},
	} {
		t.Run(name, func(t *testing.T) {
			statuses := statuses{}
			var processes []*process
			var tries []time.Time
			for now := noon; now.Before(noon.Add(time.Hour)); now = now.Add(time.Second) {
				if processes == nil || test.restart > 0 && now.Sub(noon)%test.restart == 0 {
					processes = nil
					for range test.processes {
						processes = append(processes, start(t, statuses, test.creds, now))
					}
				}
				for _, p := range processes {
					p.work(statuses, now, func(dli.Credentials) *dli.Error {
						tries = append(tries, now)
						if test.between != nil && len(tries)%2 == 0 {
							return test.between
						}
						return rejection
					})
				}
			}
			check(t, tries, test.most)
		})
	}
	t.Run("five if it is killed at any moment", func(t *testing.T) {
		most := 0
		for killed := range 310 {
			statuses := statuses{}
			var tries []time.Time
			var p *process
			for second := range 700 {
				now := noon.Add(time.Duration(second) * time.Second)
				if second == 0 || second == killed { // what it did a second before is not stored
					p = start(t, statuses, wrongKeys(8), now)
				}
				p.work(statuses, now, func(dli.Credentials) *dli.Error {
					tries = append(tries, now)
					return rejection
				})
			}
			if most = max(most, mostTries(tries)); most > 5 {
				t.Fatalf("%d within five minutes, if it is killed after %d s", most, killed)
			}
		}
		if most < 5 {
			t.Errorf("%d at most, so no kill was at the wrong moment", most)
		}
	})
	t.Run("also before the connections with the rejections are reconciled", func(t *testing.T) {
		statuses := statuses{}
		p := start(t, statuses, wrongKeys(2), noon)
		for second := range 3 {
			p.work(statuses, noon.Add(time.Duration(second)*time.Second), func(dli.Credentials) *dli.Error { return rejection })
		}
		p = start(t, statuses, map[string]dli.Credentials{"c": key("3")}, noon.Add(3*time.Second))
		if d := p.connections[0].Decide(noon.Add(3 * time.Second)); d.Admit != AdmitNone {
			t.Errorf("it decides %+v", d)
		}
	})
	t.Run("without holding back those who have the right Secret", func(t *testing.T) {
		statuses := statuses{}
		p := start(t, statuses, map[string]dli.Credentials{"a": key("wrong"), "b": key("right"), "c": key("wrong too")}, noon)
		var tries []time.Time
		read := 0
		for now := noon; now.Before(noon.Add(time.Hour)); now = now.Add(time.Second) {
			p.work(statuses, now, func(creds dli.Credentials) *dli.Error {
				if creds.SecretAccessKey == "right" {
					read++
					return nil
				}
				tries = append(tries, now)
				return rejection
			})
		}
		check(t, tries, 4)
		if read < 3500 {
			t.Errorf("%d requests in an hour with the right one", read)
		}
	})
}
