// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// A controller that starts the next step of a pipeline when a DLI job has succeeded: a Job
// from the CronJob that the DLIJob's annotation example.com/next names, like kubectl
// create job --from=cronjob/NAME. If the job did not succeed, it sends an Event instead.
package main

import (
	"context"
	"errors"
	"os"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
)

// The annotations of a DLIJob: next names a CronJob in its namespace, and handled is set
// to the job's outcome by this controller, so that it does nothing twice.
const (
	next    = "example.com/next"
	handled = "example.com/handled"
)

func main() {
	ctrl.SetLogger(zap.New())
	if err := run(ctrl.SetupSignalHandler(), ctrl.GetConfigOrDie()); err != nil {
		ctrl.Log.Error(err, "The controller has ended")
		os.Exit(1)
	}
}

// run runs the controller until ctx ends.
func run(ctx context.Context, config *rest.Config) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	steps := &Steps{client: mgr.GetClient(), recorder: mgr.GetEventRecorder("next-step")}
	if err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DLIJob{}).
		Complete(reconcile.AsReconciler(mgr.GetClient(), steps)); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// Steps starts next steps.
type Steps struct {
	client   client.Client
	recorder events.EventRecorder
}

// Reconcile is called for each change of a DLIJob, so nothing has to wait or poll.
func (s *Steps) Reconcile(ctx context.Context, job *v1alpha1.DLIJob) (ctrl.Result, error) {
	if job.Annotations[next] == "" || job.Annotations[handled] != "" || !job.IsCompleted() {
		return ctrl.Result{}, nil
	}
	if job.IsSucceeded() {
		if err := s.start(ctx, job); err != nil {
			return ctrl.Result{}, err // it is tried again, ever less often
		}
	} else {
		s.recorder.Eventf(job, nil, corev1.EventTypeWarning, "NextStepNotStarted", "Start",
			"%s was not started: the job's outcome is %s", job.Annotations[next], job.Status.Outcome)
	}
	before := job.DeepCopy()
	job.Annotations[handled] = string(job.Status.Outcome)
	return ctrl.Result{}, client.IgnoreNotFound(s.client.Patch(ctx, job, client.MergeFrom(before)))
}

// start creates the Job. Its name is made of the DLIJob's UID, so a second attempt finds
// the Job of the first, and a DLIJob that is created again gets its own. The DLIJob is not
// its owner: the TTL of the DLIJob would delete the Job while it runs.
func (s *Steps) start(ctx context.Context, job *v1alpha1.DLIJob) error {
	step := &batchv1.CronJob{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: job.Namespace, Name: job.Annotations[next]}, step); err != nil {
		return err
	}
	return client.IgnoreAlreadyExists(s.client.Create(ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   job.Namespace,
			Name:        "next-" + string(job.UID),
			Labels:      step.Spec.JobTemplate.Labels,
			Annotations: step.Spec.JobTemplate.Annotations,
		},
		Spec: step.Spec.JobTemplate.Spec,
	}))
}
