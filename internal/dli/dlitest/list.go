// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultPageSize = 50
	maxPageSize     = 100
	maxPage         = 100
)

// started returns every started job, ordered by start. It sorts only after a change, because
// clients ask for many pages.
func (s *Server) started() []*entry {
	if s.sorted == nil {
		s.sorted = []*entry{}
		for _, e := range s.jobs {
			if e.job != nil && !e.job.Start.IsZero() {
				s.sorted = append(s.sorted, e)
			}
		}
		slices.SortFunc(s.sorted, func(a, b *entry) int {
			return cmp.Or(a.job.Start.Compare(b.job.Start), strings.Compare(a.job.ID, b.job.ID))
		})
	}
	return s.sorted
}

// listQuery are the parameters of a list. Empty filters match everything.
type listQuery struct {
	status, id  string
	newestFirst bool
	from, size  int
}

// parseListQuery reads the known parameters and ignores all others, like the service;
// why says what is wrong with them.
func parseListQuery(values url.Values) (q listQuery, why string) {
	order := cmp.Or(values.Get("order"), "start_time_desc")
	q = listQuery{
		status:      values.Get("job-status"),
		id:          values.Get("job-id"),
		newestFirst: order == "start_time_desc",
	}
	page, errPage := strconv.Atoi(cmp.Or(values.Get("current-page"), "1"))
	size, errSize := strconv.Atoi(cmp.Or(values.Get("page-size"), strconv.Itoa(defaultPageSize)))
	switch {
	case errPage != nil || page < 1 || page > maxPage:
		return q, "current-page must be from 1 to 100."
	case errSize != nil || size < 1 || size > maxPageSize:
		return q, "page-size must be from 1 to 100."
	case len(values["job-status"]) > 1 || strings.Contains(q.status, ","):
		return q, "job-status takes one value."
	case len(values["job-id"]) > 1 || strings.Contains(q.id, ","):
		return q, "job-id takes one value."
	case order != "start_time_desc" && order != "start_time_asc":
		return q, "order is neither start_time_desc nor start_time_asc."
	}
	q.from, q.size = (page-1)*size, size
	return q, ""
}

// answerList answers with a page of the project's current jobs.
func (s *Server) answerList(values url.Values, q question) (any, *Response) {
	parse := parseListQuery
	if q.call == CallBatchList {
		parse = parseBatchQuery
	}
	query, why := parse(values)
	if why != "" {
		return nil, parameterError(why)
	}
	now := q.now.Add(-s.quirks.Lag)
	found := s.find(query, q, now)
	if query.newestFirst {
		slices.Reverse(found)
	}
	rows := []any{}
	for _, e := range found[min(query.from, len(found)):min(query.from+query.size, len(found))] {
		phase := e.job.wordAt(now)
		if s.chance(s.quirks.WrongStatus) {
			phase = s.wrong(phase)
		}
		if q.call == CallBatchList {
			rows = append(rows, e.job.batchRow(phase, now))
		} else {
			rows = append(rows, e.job.sqlRow(phase, now))
		}
		e.last = q.now
	}
	if q.call == CallBatchList {
		return map[string]any{"from": query.from, "total": len(found), "sessions": rows}, nil
	}
	return map[string]any{"is_success": true, "message": "", "job_count": len(found), "jobs": rows}, nil
}

// find returns the jobs of a query, of all pages.
func (s *Server) find(query listQuery, q question, now time.Time) (found []*entry) {
	isBatch := q.call == CallBatchList
	for _, e := range s.started() {
		if e.job.Start.After(now) {
			break
		}
		phase := e.job.wordAt(now)
		word, want := phase.Status, query.status
		if isBatch {
			word, want = batchWord(phase), strings.ToLower(want)
		}
		isMatch := (want == "" || word == want) &&
			(query.id == "" || e.job.ID == query.id) && e.job.Batch == isBatch && e.job.isIn(q.project)
		if isMatch && !s.chance(s.quirks.Missing) {
			found = append(found, e)
		}
	}
	return found
}

// sqlRow is a SQL job in a list.
type sqlRow struct {
	sqlJob
	End    int64  `json:"end_time,omitempty"`
	Engine string `json:"engine_type"`
	CPU    string `json:"cpu_cost"`
	Output string `json:"output_byte"`
}

func (j *Job) sqlRow(p Phase, now time.Time) sqlRow {
	row := sqlRow{sqlJob: j.sqlJob(p, now), Engine: "spark", CPU: "0", Output: "0"}
	if p.ends() {
		row.End = j.Start.Add(p.After).UnixMilli()
		row.CPU, row.Output = strconv.FormatInt(j.CPUCost, 10), strconv.FormatInt(j.OutputBytes, 10)
	}
	return row
}
