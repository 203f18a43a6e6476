// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// Reports starts a report once the job that loads its data has succeeded.
//
// With controller-runtime, which this module does not require, add it to the manager as a
// reconcile.ObjectReconciler:
//
//	func (r *Reconciler) Reconcile(ctx context.Context, job *v1alpha1.DLIJob) (ctrl.Result, error) {
//		return ctrl.Result{}, r.reports.Follow(ctx, job)
//	}
//
//	ctrl.NewControllerManagedBy(mgr).
//		For(&v1alpha1.DLIJob{}).
//		Complete(reconcile.AsReconciler(mgr.GetClient(), &Reconciler{...}))
type Reports struct {
	// Start starts the report unless it was started before: a DLIJob is reconciled again
	// after each change.
	Start func(ctx context.Context, rows int64) error
}

// Follow handles a change of a DLIJob.
func (r *Reports) Follow(ctx context.Context, job *v1alpha1.DLIJob) error {
	switch {
	case !job.IsCompleted():
		fmt.Printf("%s: not yet\n", job.Name)
	case job.IsSucceeded():
		var rows int64
		if count := job.Status.ResultCount; count != nil {
			rows = *count
		}
		return r.Start(ctx, rows)
	default:
		fmt.Printf("%s: no report, the job's outcome is %s\n", job.Name, job.Status.Outcome)
	}
	// The next change of the DLIJob triggers another call.
	return nil
}

// A controller that continues when a job has succeeded.
func Example() {
	reports := &Reports{Start: func(_ context.Context, rows int64) error {
		fmt.Printf("starting the report on %d rows\n", rows)
		return nil
	}}
	rows := int64(998)
	for _, status := range []v1alpha1.DLIJobStatus{
		{JobStatus: "RUNNING"},
		{JobStatus: "FINISHED", Outcome: v1alpha1.OutcomeSucceeded, ResultCount: &rows},
		{JobStatus: "FAILED", Outcome: v1alpha1.OutcomeFailed},
	} {
		job := &v1alpha1.DLIJob{ObjectMeta: metav1.ObjectMeta{Name: "nightly-load"}, Status: status}
		if err := reports.Follow(context.Background(), job); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// nightly-load: not yet
	// starting the report on 998 rows
	// nightly-load: no report, the job's outcome is Failed
}
