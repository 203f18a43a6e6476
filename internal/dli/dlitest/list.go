// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	defaultPageSize = 50
	maxPageSize     = 100
	maxPage         = 100
)

// listing holds every started job, ordered by start: a list of 10,000 jobs must not cost
// more than one pass over them.
type listing struct {
	mu     sync.Mutex
	jobs   []listed
	found  []*listed
	quirks ListQuirks
	dice   *rand.Rand

	// changed are the IDs of jobs that may be outdated in jobs. It has a separate lock,
	// so that changing a job does not wait for a list.
	changeMu sync.Mutex
	changed  map[string]struct{}
}

// listed is a job and its phase in the time from since until until.
type listed struct {
	entry        *entry
	job          *Job
	phase        *Phase
	since, until time.Time
}

func (j *listed) phaseAt(now time.Time) *Phase {
	if j.phase == nil || now.Before(j.since) || !j.until.IsZero() && !now.Before(j.until) {
		j.phase, j.since, j.until = j.job.wordAt(now)
	}
	return j.phase
}

// change records that a job was added, replaced, started or removed.
func (l *listing) change(id string) {
	l.changeMu.Lock()
	defer l.changeMu.Unlock()
	if l.changed == nil {
		l.changed = map[string]struct{}{}
	}
	l.changed[id] = struct{}{}
}

// update brings the jobs of the listing up to date.
func (s *Server) update() {
	l := &s.listing
	l.changeMu.Lock()
	changed := l.changed
	l.changed = nil
	l.changeMu.Unlock()
	if len(changed) == 0 {
		return
	}
	l.jobs = slices.DeleteFunc(l.jobs, func(j listed) bool {
		_, ok := changed[j.job.ID]
		return ok
	})
	for id := range changed {
		e := s.entry(id)
		if job := e.job.Load(); job != nil && !job.Start.IsZero() {
			l.jobs = append(l.jobs, listed{entry: e, job: job})
		}
	}
	if !slices.IsSortedFunc(l.jobs, byStart) {
		slices.SortFunc(l.jobs, byStart)
	}
}

func byStart(a, b listed) int {
	return cmp.Or(a.job.Start.Compare(b.job.Start), strings.Compare(a.job.ID, b.job.ID))
}

// listQuery are the parameters of a list. Empty filters match everything.
type listQuery struct {
	isBatch           bool
	status, id, order string
	from, size        int
}

// parseListQuery reads the known parameters and ignores all others, like the service;
// why says what is wrong with them.
func parseListQuery(values url.Values) (q listQuery, why string) {
	q = listQuery{
		status: values.Get("job-status"),
		id:     values.Get("job-id"),
		order:  cmp.Or(values.Get("order"), "start_time_desc"),
		size:   defaultPageSize,
	}
	page := 1
	var errPage, errSize error
	if text := values.Get("current-page"); text != "" {
		page, errPage = strconv.Atoi(text)
	}
	if text := values.Get("page-size"); text != "" {
		q.size, errSize = strconv.Atoi(text)
	}
	switch {
	case errPage != nil || page < 1 || page > maxPage:
		return q, "current-page must be from 1 to 100."
	case errSize != nil || q.size < 1 || q.size > maxPageSize:
		return q, "page-size must be from 1 to 100."
	case len(values["job-status"]) > 1 || strings.Contains(q.status, ","):
		return q, "job-status takes one value."
	case len(values["job-id"]) > 1 || strings.Contains(q.id, ","):
		return q, "job-id takes one value."
	case q.order != "start_time_desc" && q.order != "start_time_asc":
		return q, "order is neither start_time_desc nor start_time_asc."
	}
	q.from = (page - 1) * q.size
	return q, ""
}

// answerList appends a page of the project's current jobs to b.
func (s *Server) answerList(b []byte, values url.Values, q question) ([]byte, *Response) {
	l := &s.listing
	l.mu.Lock()
	defer l.mu.Unlock()
	parse, appendStart, appendRow := parseListQuery, appendListStart, (*Job).appendRow
	if q.call == CallBatchList {
		parse, appendStart, appendRow = parseBatchQuery, appendBatchListStart, (*Job).appendBatchRow
	}
	query, why := parse(values)
	if why != "" {
		return nil, parameterError(why)
	}
	s.update()
	now := q.now.Add(-l.quirks.Lag)
	l.find(query, q.project, now)
	if strings.HasSuffix(query.order, "_desc") {
		slices.Reverse(l.found)
	}

	b = appendStart(b, query.from, len(l.found))
	first := min(query.from, len(l.found))
	last := min(first+query.size, len(l.found))
	for i, j := range l.found[first:last] {
		if i > 0 {
			b = append(b, ',')
		}
		phase := *j.phase
		if l.chance(l.quirks.WrongStatus) {
			phase = l.wrong(phase)
		}
		b = appendRow(j.job, b, phase, now)
		j.entry.last.Store(q.now.UnixNano())
	}
	return append(b, ']', '}'), nil
}

func appendListStart(b []byte, _, total int) []byte {
	b = append(b, `{"is_success":true,"message":"","job_count":`...)
	b = strconv.AppendInt(b, int64(total), 10)
	return append(b, `,"jobs":[`...)
}

func appendBatchListStart(b []byte, from, total int) []byte {
	b = append(b, `{"from":`...)
	b = strconv.AppendInt(b, int64(from), 10)
	b = append(b, `,"total":`...)
	b = strconv.AppendInt(b, int64(total), 10)
	return append(b, `,"sessions":[`...)
}

// find puts the jobs of a query, of all pages, into l.found.
func (l *listing) find(query listQuery, project string, now time.Time) {
	l.found = l.found[:0]
	for i := range l.jobs {
		j := &l.jobs[i]
		if j.job.Start.After(now) {
			break
		}
		if query.status != "" && !query.isIn(j.phaseAt(now)) || !query.admits(j.job, project) {
			continue
		}
		if !l.chance(l.quirks.Missing) {
			j.phaseAt(now)
			l.found = append(l.found, j)
		}
	}
}

// isIn reports whether a phase has the status of the filter.
func (q listQuery) isIn(p *Phase) bool {
	if q.isBatch {
		return strings.EqualFold(batchWord(*p), q.status)
	}
	return p.Status == q.status
}

// admits reports whether a job matches all filters except that of the status.
func (q listQuery) admits(job *Job, project string) bool {
	return job.Batch == q.isBatch && (job.ProjectID == "" || job.ProjectID == project) && (q.id == "" || job.ID == q.id)
}

// appendRow appends the JSON of a job in a list.
func (j *Job) appendRow(b []byte, p Phase, now time.Time) []byte {
	b = append(b, `{"job_id":`...)
	b = appendJSONString(b, j.ID)
	b = appendText(b, "job_type", j.Type)
	b = appendText(b, "queue_name", j.Queue)
	b = appendText(b, "owner", j.Owner)
	b = append(b, `,"start_time":`...)
	b = strconv.AppendInt(b, j.Start.UnixMilli(), 10)
	b = append(b, `,"status":`...)
	b = appendJSONString(b, p.Status)
	detail := ""
	if p.Status != launching {
		b = j.appendFigures(b, p, now)
	}
	if p.Status == finished {
		detail = j.Detail
		b = appendText(b, "result_path", j.ResultPath)
	}
	cpu, output := int64(0), int64(0)
	if p.ends() {
		cpu, output = j.CPUCost, j.OutputBytes
		end := j.Start.Add(p.After).UnixMilli()
		b = appendFigure(b, "end_time", &end)
	}
	b = append(b, `,"detail":`...)
	b = appendJSONString(b, detail)
	b = appendText(b, "statement", j.Statement)
	b = append(b, `,"message":`...)
	b = appendJSONString(b, p.Message)
	b = appendText(b, "engine_type", "spark")
	b = appendText(b, "cpu_cost", strconv.FormatInt(cpu, 10))
	b = appendText(b, "output_byte", strconv.FormatInt(output, 10))
	return append(b, '}')
}
