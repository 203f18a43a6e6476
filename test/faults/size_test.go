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

package faults

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// Responses of any size can be read and stored.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	t.Run("columns that grow when encoded as JSON", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		job := dlitest.Query("job").Finishes(4)
		var columns []string
		for range 256 {
			columns = append(columns, fmt.Sprintf(`{"name":%q,"type":%q,"nullable":true,"metadata":{}}`,
				strings.Repeat("<", 256), strings.Repeat("<", 1024)))
		}
		job.Detail = `{"type":"struct","fields":[` + strings.Join(columns, ",") + `]}`
		w.dli.SetJob(job)
		w.start()
		done := w.await(w.watch("job"), 40*time.Second, "finished", (*v1alpha1.DLIJob).IsCompleted)
		text, err := json.Marshal(done)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 256<<10 {
			t.Errorf("the object takes %d bytes as JSON", len(text))
		}
		if kept := len(done.Status.Columns) + int(done.Status.ColumnsOmitted); kept != 256 {
			t.Errorf("%d columns are kept or counted, want 256", kept)
		}
	})
	t.Run("an error of 6 MiB", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.dli.SetJob(dlitest.Query("job").Fails("DLI.0002: no such file: " + strings.Repeat("x", 6<<20)))
		w.start()
		done := w.await(w.watch("job"), 40*time.Second, "failed", (*v1alpha1.DLIJob).IsCompleted)
		if done.Status.Outcome != v1alpha1.OutcomeFailed || done.Status.Error == nil || done.Status.Error.Code != "DLI.0002" {
			t.Errorf("outcome is %q, error is %+v", done.Status.Outcome, done.Status.Error)
		}
	})
	t.Run("a statement of 6 MiB", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		job := dlitest.Query("job").Finishes(4)
		job.Statement = "select '" + strings.Repeat("x", 6<<20) + "'"
		w.dli.SetJob(job)
		w.start()
		done := w.await(w.watch("job"), 40*time.Second, "finished", (*v1alpha1.DLIJob).IsCompleted)
		if !done.Status.StatementTruncated || done.Status.ResultCount == nil || *done.Status.ResultCount != 4 {
			t.Errorf("status is %+v", done.Status)
		}
	})
}
