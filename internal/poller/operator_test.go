// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package poller

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/connection"
	"github.com/dli-operator/dli-operator/internal/dli"
)

// asked is a request to DLI.
type asked struct {
	project, job string
	creds        dli.Credentials
	at           time.Time
	// nth counts the requests for the job, from 1.
	nth int
	// rejected is set if the credentials were rejected.
	rejected bool
}

// answer is a response of DLI, and how long it takes.
type answer struct {
	took   time.Duration
	status *dli.JobStatus
	err    *dli.Error
	// panics is set if the client has a bug that the response triggers.
	panics bool
}

// stored is what was written about a job.
type stored struct {
	*Result
	at time.Time
}

// operator runs a registry and a poller in a synctest bubble, where an hour passes in a
// moment, and uses them like the reconcilers do.
type operator struct {
	*testing.T
	*cluster
	ctx      context.Context //nolint:containedctx // of a run, which a test may end
	stop     context.CancelFunc
	registry *connection.Registry
	poller   *Poller

	mu sync.Mutex
	// answer returns DLI's response.
	answer func(asked) answer
	// list returns DLI's response to a list request, and lists has the times of these
	// requests.
	list  func(dli.ListOptions) listAnswer
	lists []time.Time
	// percent returns DLI's response to a progress request, and percents has the times
	// of these requests.
	percent  func() (float64, answer)
	percents []time.Time
	// reportCost is set if the cost of jobs that have ended is wanted.
	reportCost bool
	asks       []asked
	nth        map[string]int
	// flying counts the requests in flight, and flew is the maximum.
	flying, flew int
	targets      map[types.NamespacedName]Target
	// writable is set while results can be stored.
	writable  bool
	delivered []types.NamespacedName
	stored    map[string][]stored
	deliver   chan struct{}
}

// newOperator starts an operator with a connection named a. maxRequests limits its
// requests; 0 for no limit.
func newOperator(t *testing.T, c *cluster, maxRequests int) *operator {
	t.Helper()
	schedule := DefaultSchedule()
	schedule.ListInterval = 0
	return newScheduled(t, c, maxRequests, schedule)
}

// simulate runs a subtest with an operator in a synctest bubble.
func simulate(t *testing.T, name string, test func(o *operator)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			t.Helper()
			test(newOperator(t, newCluster(), 0))
		})
	})
}

// newScheduled is newOperator with a schedule.
func newScheduled(t *testing.T, c *cluster, maxRequests int, schedule Schedule) *operator {
	t.Helper()
	o := &operator{
		T: t, cluster: c, answer: well, nth: map[string]int{}, writable: true,
		targets: map[types.NamespacedName]Target{}, stored: map[string][]stored{}, deliver: make(chan struct{}, 1),
	}
	o.ctx, o.stop = context.WithCancel(t.Context())
	o.registry = connection.NewRegistry(c, c, connection.Options{
		AllowInsecure: true,
		NewClient: func(config dli.Config) (connection.Client, error) {
			return script{operator: o, project: config.ProjectID}, nil
		},
	}, script{})
	o.poller = New(Config{
		Schedule:    schedule,
		Connections: o.registry,
		MaxRequests: maxRequests,
		Patience:    connection.DefaultProbeInterval,
		Deliver: func(key types.NamespacedName, _ bool) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.delivered = append(o.delivered, key)
			select {
			case o.deliver <- struct{}{}:
			default:
			}
		},
		Changed: func(key types.NamespacedName) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.tell(key)
		},
		Recorder: script{},
		Clock:    clock.RealClock{},
		Jitter:   func() float64 { return 2*rand.Float64() - 1 },
	})
	if c.connections[key("a")] == nil {
		c.edit("a", nil)
	}
	o.reconcile("a")
	go func() { _ = o.poller.Start(o.ctx) }()
	go o.store()
	return o
}

// reconcile does what the reconciler of a connection does.
func (o *operator) reconcile(name string) {
	key := key(name)
	changed := make(chan struct{}, 1)
	o.cluster.mu.Lock()
	o.changed[key] = append(o.changed[key], changed)
	o.cluster.mu.Unlock()
	go func() {
		for {
			object := &v1alpha1.DLIConnection{}
			if err := o.Get(o.ctx, key, object); err != nil {
				o.registry.Remove(key, time.Now())
				return
			}
			conn := o.registry.Configure(object)
			rejected, next, err := conn.Refresh(o.ctx, object.Status.RejectedCredentials, time.Now())
			if err != nil {
				o.Error(err)
			}
			o.poller.WakeConnection(key)
			o.write(object, rejected)
			select {
			case <-changed:
			case <-time.After(next):
			case <-o.ctx.Done():
				return
			}
		}
	}()
}

// store writes delivered results a moment later.
func (o *operator) store() {
	for {
		select {
		case <-o.deliver:
		case <-o.ctx.Done():
			return
		}
		o.mu.Lock()
		keys, writable := o.delivered, o.writable
		if writable {
			o.delivered = nil
		}
		o.mu.Unlock()
		for _, key := range keys {
			if result := o.poller.Latest(key).Result; writable && result != nil {
				o.poller.Stored(key, result)
				o.mu.Lock()
				o.stored[key.Name] = append(o.stored[key.Name], stored{result, time.Now()})
				o.mu.Unlock()
				if result.Status != nil && result.Status.State.HasEnded() {
					o.complete(key)
				}
			}
		}
	}
}

// complete does what the reconciler of a DLIJob does that has got its outcome.
func (o *operator) complete(key types.NamespacedName) {
	if !o.reportCost {
		o.poller.Forget(key)
		return
	}
	target := o.targets[key]
	target.Completed, target.ReportCost = true, true
	o.poller.Watch(target)
}

// watch polls jobs through a connection at an interval; 0 for the adaptive one.
func (o *operator) watch(connection string, interval time.Duration, jobs ...string) {
	for _, job := range jobs {
		o.change(job, func(t *Target) {
			*t = Target{Key: key(job), UID: types.UID(job), JobID: job, Interval: interval}
			t.Connection, t.Failure = o.find(connection)
		})
	}
}

// change changes how a job is polled.
func (o *operator) change(job string, change func(*Target)) {
	target := o.targets[key(job)]
	change(&target)
	o.targets[key(job)] = target
	o.poller.Watch(target)
}

// find returns the key of the connection with a name.
func (o *operator) find(name string) (types.NamespacedName, *connection.Failure) {
	job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Namespace: "team"}}
	job.Spec.ConnectionRef = &v1alpha1.ConnectionReference{Name: name}
	conn, err := o.registry.Resolve(o.ctx, job, time.Now())
	if err == nil {
		return client.ObjectKeyFromObject(conn), nil
	}
	failure, ok := connection.AsFailure(err)
	if !ok {
		o.Fatal(err)
	}
	return types.NamespacedName{}, failure
}

// refind polls all jobs through the current connection with a name.
func (o *operator) refind(name string) {
	for _, t := range o.targets {
		o.change(t.JobID, func(t *Target) { t.Connection, t.Failure = o.find(name) })
	}
}

// leave stops watching a job, as if its DLIJob were deleted.
func (o *operator) leave(job string) {
	delete(o.targets, key(job))
	o.poller.Forget(key(job))
}

// says changes DLI's response from now on.
func (o *operator) says(answer func(asked) answer) {
	o.set(func() { o.answer = answer })
}

// set changes what the responses are made of. They are read under the same mutex: that no
// request is in flight does not order a test's writes for the race detector.
func (o *operator) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// run advances the time.
func (o *operator) run(d time.Duration) {
	<-time.After(d)
	synctest.Wait() // until everything due has happened
}

// health returns a connection's health.
func (o *operator) health(name string) connection.Health {
	return o.registry.Get(key(name)).Health(time.Now())
}

// since returns the requests at or after a time.
func (o *operator) since(from time.Time) []asked {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, _ := slices.BinarySearchFunc(o.asks, from, func(a asked, from time.Time) int { return a.at.Compare(from) })
	return slices.Clone(o.asks[i:])
}

// listsSince returns the number of list requests at or after a time.
func (o *operator) listsSince(from time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, _ := slices.BinarySearchFunc(o.lists, from, time.Time.Compare)
	return len(o.lists[i:])
}

// firstAfter returns how long after a time the first job was polled.
func (o *operator) firstAfter(from time.Time) time.Duration {
	o.Helper()
	asks := o.since(from)
	if len(asks) == 0 {
		o.Fatal("no job was polled since")
	}
	return asks[0].at.Sub(from)
}

// allAfter returns how long after a time every job had been polled.
func (o *operator) allAfter(from time.Time) time.Duration {
	o.Helper()
	var last time.Duration
	left := map[string]bool{}
	for key := range o.targets {
		left[key.Name] = true
	}
	for _, a := range o.since(from) {
		if left[a.job] {
			delete(left, a.job)
			last = a.at.Sub(from)
		}
	}
	if len(left) > 0 {
		o.Errorf("%d jobs were not polled since", len(left))
	}
	return last
}

// storedOf returns what was written about a job.
func (o *operator) storedOf(job string) []stored {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.stored[job])
}

// most returns the maximum number of requests that started within any window.
func most(asks []asked, window time.Duration) (count int) {
	from := 0
	for i := range asks {
		for asks[i].at.Sub(asks[from].at) >= window {
			from++
		}
		count = max(count, i-from+1)
	}
	return count
}

// names returns n names of jobs.
func names(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(prefix, i)
	}
	return names
}

// key returns the key of a job or a connection: of namespace team unless it names another.
func key(name string) types.NamespacedName {
	if namespace, name, found := strings.Cut(name, "/"); found {
		return types.NamespacedName{Namespace: namespace, Name: name}
	}
	return types.NamespacedName{Namespace: "team", Name: name}
}

// script is a client with the responses of a test, and a recorder that discards
// everything.
type script struct {
	operator *operator
	project  string
}

// timeout is how long a client waits for a response.
const timeout = 10 * time.Second

func (s script) Status(ctx context.Context, creds dli.Credentials, _ dli.JobType, job string) (*dli.JobStatus, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err() // nothing is sent
	}
	o := s.operator
	o.mu.Lock()
	o.nth[job]++
	a := asked{project: s.project, job: job, creds: creds, at: time.Now(), nth: o.nth[job]}
	said := o.answer(a)
	a.rejected = said.err != nil && said.err.Kind == dli.KindAuth
	o.asks = append(o.asks, a)
	o.flying++
	o.flew = max(o.flew, o.flying)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.flying--
	}()
	if said.panics {
		panic("a bug")
	}
	if said.took >= timeout {
		said = answer{took: timeout, err: &dli.Error{Kind: dli.KindUnreachable, Message: "no response in time", Err: context.DeadlineExceeded}}
	}
	return arrives(ctx, said.took, said.status, said.err)
}

// listAnswer is a response to a list request, and how long it takes.
type listAnswer struct {
	took time.Duration
	list *dli.JobList
	err  *dli.Error
}

func (s script) List(ctx context.Context, _ dli.Credentials, jobType dli.JobType, options dli.ListOptions) (*dli.JobList, error) {
	o := s.operator
	o.mu.Lock()
	o.lists = append(o.lists, time.Now())
	said := o.list(options)
	o.mu.Unlock()
	return arrives(ctx, said.took, said.list, said.err)
}

func (s script) JobProgress(ctx context.Context, _ dli.Credentials, job string) (*dli.Progress, error) {
	o := s.operator
	o.mu.Lock()
	o.percents = append(o.percents, time.Now())
	fraction, said := o.percent()
	o.mu.Unlock()
	return arrives(ctx, said.took, &dli.Progress{JobID: job, Fraction: &fraction}, said.err)
}

// arrives returns a response or an error after the time that DLI takes, or the error of
// ctx if it is done earlier.
func arrives[T any](ctx context.Context, took time.Duration, response *T, failed *dli.Error) (*T, error) {
	wait := time.NewTimer(took)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if failed != nil {
		return nil, failed
	}
	return response, nil
}

func (script) OpenedConnections() uint64                           { return 0 }
func (script) CloseIdleConnections()                               {}
func (script) Requested(string, string, time.Duration, *dli.Error) {}
func (script) ListDiffered()                                       {}
func (script) PollLateness(time.Duration)                          {}

// Responses of DLI.

const usual = 50 * time.Millisecond

func well(asked) answer { return running }

var (
	running  = answer{took: usual, status: &dli.JobStatus{Status: "RUNNING", State: dli.StateRunning}}
	finished = answer{took: usual, status: &dli.JobStatus{Status: "FINISHED", State: dli.StateFinished}}
)

// inTurn responds to the requests for each job in turn, and to all further ones with the last.
func inTurn(answers ...answer) func(asked) answer {
	return func(a asked) answer { return answers[min(a.nth, len(answers))-1] }
}

// always responds to every request with an error.
func always(err dli.Error, took time.Duration) func(asked) answer {
	return func(asked) answer { return answer{took: took, err: &err} }
}
