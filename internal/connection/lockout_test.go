// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// may reports whether a policy admits a request at a time.
func may(p policy, at time.Time) bool {
	return p.decisionAt(at).Admit != AdmitNone
}

func TestLockout(t *testing.T) {
	open := func(t *testing.T) *Connection {
		t.Helper()
		r, now := registry(answering)
		return connect(t, r, now, object("a"), "t")
	}
	may := func(conn *Connection, at time.Time) bool { return conn.Decide(at).Admit != AdmitNone }
	begin := func(conn *Connection, at time.Time) *Request {
		return conn.Begin(at, CallStatus, dli.JobTypeSQL, "job", "")
	}
	done := func(r *Request, err *dli.Error, at time.Time) { _ = r.conn.requestDone(r, failureOf(err, "c"), at) }
	rejection := &dli.Error{Kind: dli.KindAuth, HTTPStatus: 401}

	t.Run("admits one request with credentials that were never accepted", func(t *testing.T) {
		conn := open(t)
		if !may(conn, noon) {
			t.Fatal("the first request is not admitted")
		}
		first := begin(conn, noon)
		if may(conn, noon.Add(trialSlow-1)) {
			t.Error("a second request is admitted before the response to the first")
		}
		done(first, nil, noon)
		for range 4 {
			if conn.Decide(noon).Admit != AdmitAll {
				t.Error("a request is not admitted after the credentials were accepted")
			}
			begin(conn, noon)
		}
	})
	t.Run("admits at most five requests without a response", func(t *testing.T) {
		conn := open(t)
		n := 0
		for at := noon; at.Before(noon.Add(time.Minute)); at = at.Add(100 * time.Millisecond) {
			if may(conn, at) {
				begin(conn, at)
				n++
			}
		}
		if n != 5 {
			t.Errorf("%d requests are in flight", n)
		}
	})
	t.Run("tries rejected credentials only after a claim, and once", func(t *testing.T) {
		r, now := registry(answering)
		conn, other := connect(t, r, now, object("a"), "t"), connect(t, r, now, object("b"), "t")
		done(begin(conn, noon), rejection, noon)
		conn.credentials.setStored(conn.credentials.toStore(noon), noon)
		if may(conn, noon.Add(time.Hour)) {
			t.Error("a request is admitted without a claim")
		}
		at := noon.Add(100 * time.Second)
		claim := conn.credentials.toStore(at)
		if !claim.LockedUntil.Time.Equal(at.Add(100 * time.Second)) {
			t.Fatalf("the claim is %+v", claim)
		}
		conn.credentials.setStored(claim, at)
		if conn.Decide(at).Admit != AdmitProbe {
			t.Fatal("the claim admits no request")
		}
		other.Decide(at)
		other.credentials.setStored(other.credentials.toStore(at), at)
		if may(other, at) {
			t.Error("it admits a request of another connection with the same credentials")
		}
		done(begin(conn, at), &dli.Error{Kind: dli.KindUnreachable}, at)
		if got := conn.credentials.toStore(at.Add(100 * time.Second)); !equality.Semantic.DeepEqual(got, claim) {
			t.Errorf("while nobody waits, it writes %+v", got)
		}
		if may(conn, at.Add(time.Hour)) {
			t.Error("a second request is admitted")
		}
	})
	t.Run("waits if another process has claimed the attempt", func(t *testing.T) {
		conn := open(t)
		done(begin(conn, noon), rejection, noon)
		conn.Decide(noon)
		at := noon.Add(100 * time.Second)
		other := conn.credentials.toStore(at).DeepCopy()
		other.LockedUntil.Time = other.LockedUntil.Add(time.Second)
		conn.credentials.setStored(other, at)
		if may(conn, at.Add(time.Hour)) {
			t.Error("a request is admitted")
		}
		if next := conn.credentials.toStore(at); !next.LockedUntil.Time.Equal(other.LockedUntil.Time) {
			t.Errorf("it writes %v over %v", next.LockedUntil, other.LockedUntil)
		}
	})
	t.Run("does not claim what nobody waits for", func(t *testing.T) {
		conn := open(t)
		done(begin(conn, noon), rejection, noon)
		conn.credentials.setStored(conn.credentials.toStore(noon), noon)
		if got := conn.credentials.toStore(noon.Add(time.Hour)); !equality.Semantic.DeepEqual(got, conn.credentials.stored) {
			t.Errorf("it writes %+v", got)
		}
	})
	t.Run("tries others one at a time after a rejection, also slow ones", func(t *testing.T) {
		p := start(t, statuses{}, wrongKeys(3), noon)
		rejected := p.connections[0]
		done(begin(rejected, noon), rejection, noon)
		rejected.credentials.setStored(rejected.credentials.toStore(noon), noon)
		if !may(p.connections[1], noon) {
			t.Fatal("no other is tried")
		}
		begin(p.connections[1], noon)
		if may(p.connections[2], noon.Add(2*trialSlow)) {
			t.Error("two are tried")
		}
	})
	t.Run("does not take from one endpoint what another one accepts", func(t *testing.T) {
		r, now := registry(answering)
		elsewhere := object("b")
		elsewhere.Spec.Endpoint = "http://127.0.0.1:2"
		conn, other := connect(t, r, now, object("a"), "t"), connect(t, r, now, elsewhere, "t")
		done(begin(other, noon), nil, noon)
		if d := conn.Decide(noon); d.Admit != AdmitProbe {
			t.Errorf("it decides %+v", d)
		}
	})
	t.Run("waits as long as the service locks the key", func(t *testing.T) {
		conn := open(t)
		done(begin(conn, noon), &dli.Error{Kind: dli.KindAuth, RetryAfter: 4 * time.Minute}, noon)
		if got := conn.credentials.toStore(noon); !got.LockedUntil.Time.Equal(noon.Add(4 * time.Minute)) {
			t.Errorf("until %v", got.LockedUntil)
		}
	})
	t.Run("is not lifted by requests sent before the rejection", func(t *testing.T) {
		conn := open(t)
		done(begin(conn, noon), nil, noon)
		var sent [4]*Request
		for i := range sent {
			sent[i] = begin(conn, noon.Add(time.Duration(i)))
		}
		done(sent[0], rejection, noon.Add(time.Second))
		done(sent[1], nil, noon.Add(time.Second))
		if may(conn, noon.Add(2*time.Second)) {
			t.Error("a stale response lifts the doubt")
		}
		done(sent[2], rejection, noon.Add(time.Second))
		done(sent[3], nil, noon.Add(2*time.Second))
		if !conn.credentials.isRejected() {
			t.Error("a stale response lifts it")
		}
		done(begin(conn, noon.Add(time.Minute)), nil, noon.Add(time.Minute))
		if conn.Decide(noon.Add(time.Minute)).Admit != AdmitAll {
			t.Error("a new response does not lift it")
		}
	})
	t.Run("confirms a first rejection before it believes it", func(t *testing.T) {
		conn := open(t)
		done(begin(conn, noon), nil, noon)
		err := conn.requestDone(begin(conn, noon), failureOf(rejection, "c"), noon)
		if !errors.Is(err, ErrOutdated) || !conn.Health(noon).Ready || conn.credentials.toStore(noon) != nil {
			t.Errorf("the job fails with %v, and the connection reports %+v", err, conn.Health(noon))
		}
		if d := conn.Decide(noon); d.Admit != AdmitNone || d.Reason != nil || d.RecheckAt.Sub(noon) != 3*time.Second {
			t.Errorf("it decides %+v", d)
		}
		at := noon.Add(3 * time.Second)
		if d := conn.Decide(at); d.Admit != AdmitProbe {
			t.Errorf("3 s later it decides %+v", d)
		}
		err = conn.requestDone(begin(conn, at), failureOf(rejection, "c"), at)
		if _, ok := AsFailure(err); !ok || conn.Health(at).Reason != v1alpha1.ReasonCredentialsRejected {
			t.Errorf("the second rejection: %v, and the connection reports %+v", err, conn.Health(at))
		}
	})
	t.Run("does not blame new credentials for the rejection of the former ones", func(t *testing.T) {
		conn := open(t)
		sent := begin(conn, noon)
		conn.credentials.setFetched(dli.Credentials{Token: "new"}, time.Time{}, nil, noon)
		if err := conn.requestDone(sent, failureOf(rejection, "c"), noon); !errors.Is(err, ErrOutdated) {
			t.Errorf("the job fails with %v", err)
		}
	})
	for _, call := range []string{CallList, CallProgress} {
		t.Run("leaves it to a status call whether a rejected "+call+" call means the credentials", func(t *testing.T) {
			conn := open(t)
			done(begin(conn, noon), nil, noon)
			err := conn.requestDone(conn.Begin(noon, call, dli.JobTypeSQL, "", ""), failureOf(rejection, "c"), noon)
			if failure, ok := AsFailure(err); !ok || failure.Reason != v1alpha1.ReasonCredentialsRejected {
				t.Errorf("the call fails with %v", err)
			}
			if d := conn.Decide(noon); d.Admit != AdmitProbe || d.Reason != nil || !conn.Health(noon).Ready {
				t.Errorf("the connection decides %+v and reports %+v", d, conn.Health(noon))
			}
			done(begin(conn, noon), nil, noon)
			if d := conn.Decide(noon); d.Admit != AdmitAll {
				t.Errorf("after a status call it decides %+v", d)
			}
		})
	}
}

// What a status says of the credentials counts after a restart.
func TestStoredRejections(t *testing.T) {
	r, now := registry(answering)
	before := connect(t, r, now, object("a"), "t")
	_ = before.requestDone(before.Begin(noon, CallStatus, dli.JobTypeSQL, "job", ""), failureOf(&dli.Error{Kind: dli.KindAuth}, "c"), noon)
	stored := before.credentials.toStore(noon)
	restart := func(t *testing.T, token string, until time.Time) *Connection {
		t.Helper()
		r, now := registry(answering)
		seeded := object("a")
		seeded.Status.RejectedCredentials = stored.DeepCopy()
		seeded.Status.RejectedCredentials.LockedUntil.Time = until
		return connect(t, r, now, seeded, token)
	}
	soon := noon.Add(100 * time.Second)
	t.Run("so they wait, with the reason", func(t *testing.T) {
		d := restart(t, "t", soon).Decide(noon.Add(time.Minute))
		if d.Admit != AdmitNone || d.Reason.Message != before.Decide(noon).Reason.Message {
			t.Errorf("it decides %+v", d)
		}
	})
	t.Run("but other credentials do not wait", func(t *testing.T) {
		if d := restart(t, "new", soon).Decide(noon); d.Admit != AdmitProbe {
			t.Errorf("it decides %+v", d)
		}
	})
	t.Run("but not for longer than five minutes, if a clock was set back", func(t *testing.T) {
		conn := restart(t, "t", noon.Add(time.Hour))
		conn.Decide(noon)
		for at := noon; at.Before(noon.Add(5 * time.Minute)); at = at.Add(time.Minute) {
			conn.credentials.setStored(conn.credentials.toStore(at), at)
		}
		conn.credentials.setStored(conn.credentials.toStore(noon.Add(5*time.Minute)), noon.Add(5*time.Minute))
		if d := conn.Decide(noon.Add(5 * time.Minute)); d.Admit != AdmitProbe {
			t.Errorf("it decides %+v", d)
		}
	})
	t.Run("and once another process has seen them accepted, they are tried at once", func(t *testing.T) {
		before.credentials.setStored(stored, noon)
		before.credentials.setStored(nil, noon)
		if d := before.Decide(noon); d.Admit != AdmitProbe || before.credentials.toStore(noon) != nil {
			t.Errorf("it decides %+v", d)
		}
	})
}
