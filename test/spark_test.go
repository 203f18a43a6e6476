// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// A batch from its submission with the documented script to its outcome.
func TestSparkJobs(t *testing.T) {
	namespace, server := startPipelines(t)
	for _, test := range []struct {
		end   string
		batch dlitest.Job
		want  v1alpha1.Outcome
		says  string
	}{
		{"success", dlitest.Batch("").Running(time.Second).Being("RECOVERING", time.Second).Finishes(0), v1alpha1.OutcomeSucceeded, ""},
		{"dead", dlitest.Batch("").Running(time.Second).Fails("at Main.main\nDLI.0002: no such file"), v1alpha1.OutcomeFailed, "no such file"},
	} {
		t.Run(test.end, func(t *testing.T) {
			server.SetTemplate(test.batch)
			job := &v1alpha1.DLIJob{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: test.end},
				Spec:       v1alpha1.DLIJobSpec{JobID: submitBatch(t, server), Type: v1alpha1.JobTypeSpark},
			}
			if err := admin.Create(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			if !eventually(func() bool {
				if err := admin.Get(t.Context(), client.ObjectKeyFromObject(job), job); err != nil {
					t.Fatal(err)
				}
				return job.IsCompleted()
			}) {
				t.Fatalf("the DLIJob does not complete: %+v", job.Status)
			}
			if s := job.Status; s.JobStatus != test.end || s.Outcome != test.want || s.ApplicationID == "" || !strings.Contains(s.Message, test.says) {
				t.Errorf("the status is %+v", s)
			}
		})
	}
}

// submitBatch submits a batch, and returns the ID that DLI gave it.
func submitBatch(t *testing.T, server *dlitest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "job.json")
	if err := os.WriteFile(file, []byte(`{"file":"obs://bucket/app.jar","className":"org.example.Main"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	user := dlitest.SampleUser()
	submit := exec.CommandContext(t.Context(), "sh", examples+"submit-to-dli.sh", "--spark", file)
	submit.Env = append(os.Environ(), "DLI_ENDPOINT="+server.URL(), "DLI_PROJECT_ID="+user.ProjectID,
		"DLI_ACCESS_KEY_ID="+user.AccessKeyID, "DLI_SECRET_ACCESS_KEY="+user.SecretAccessKey)
	var printed testenv.Buffer
	submit.Stderr = &printed
	id, err := submit.Output()
	if err != nil {
		t.Fatalf("submitting a batch: %v\n%s", err, printed.String())
	}
	return strings.TrimSpace(string(id))
}
