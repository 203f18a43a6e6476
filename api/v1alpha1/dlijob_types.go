// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PollRequestedAtAnnotation requests one immediate poll, also of a job that
// has completed. Each new value requests one poll; a timestamp is customary:
//
//	kubectl annotate dlijob/x --overwrite dli.huaweicloud.com/poll-requested-at="$(date +%s)"
const PollRequestedAtAnnotation = "dli.huaweicloud.com/poll-requested-at"

// DLIJobSpec names a job in DLI and says how to watch it.
type DLIJobSpec struct {
	// jobID is the ID of the job in DLI, as returned when it was submitted (DLI:
	// job_id of a SQL job, id of a Spark job). Immutable: create another DLIJob
	// for another job.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$')",message="jobID is what DLI returned when the job was submitted: letters, digits, hyphens and underscores only"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="jobID cannot be changed; create another DLIJob to watch another job"
	JobID string `json:"jobID"`

	// type is the type of the job: SQL, or Spark, which DLI also calls a batch.
	// Immutable: create another DLIJob for another job.
	// +optional
	// +kubebuilder:default=SQL
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type cannot be changed; create another DLIJob to watch another job"
	Type JobType `json:"type,omitempty"`

	// connectionRef names the DLIConnection to use. If absent, the operator uses
	// the DLIConnection named "default" in the DLIJob's namespace or, if there is
	// none, the one set with its flag --default-connection.
	// +optional
	ConnectionRef *ConnectionReference `json:"connectionRef,omitempty"`

	// pollIntervalSeconds is a fixed time between two polls, in seconds. If
	// absent, the interval adapts: a tenth of the time that the job has been
	// running, at least 5 and at most 60 seconds.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	PollIntervalSeconds *int32 `json:"pollIntervalSeconds,omitempty"`

	// activeDeadlineSeconds is how long the job may take, in seconds from its
	// start (from the creation of the DLIJob while the start is unknown). After
	// that, the DLIJob is Stalled with reason DeadlineExceeded. The operator does
	// not stop the job and keeps polling; a job that ends later gets its outcome.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`

	// ttlSecondsAfterFinished is the time, in seconds, after which the operator
	// deletes the DLIJob once the job has completed and its outcome was recorded.
	// The job in DLI is not affected. If absent, the DLIJob is kept.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// suspend stops polling while true. The status is kept.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// reportProgress fills status.progress while the job runs, for humans. It
	// costs one more request per running job and minute. If absent, the
	// connection's reportProgress applies.
	// +optional
	ReportProgress *bool `json:"reportProgress,omitempty"`
}

// JobType is a type of job in DLI that ends.
// +kubebuilder:validation:Enum=SQL;Spark
type JobType string

// The types of jobs.
const (
	// JobTypeSQL: a SQL job.
	JobTypeSQL JobType = "SQL"
	// JobTypeSpark: a Spark job, which DLI also calls a batch.
	JobTypeSpark JobType = "Spark"
)

// ConnectionReference names a DLIConnection.
type ConnectionReference struct {
	// name of the DLIConnection.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`

	// namespace of the DLIConnection; the DLIJob's own if absent. A connection in
	// another namespace must allow the DLIJob's namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
}

// Outcome is how a job ended.
type Outcome string

// The outcomes of a job. A DLIJob without an outcome has not completed.
const (
	// OutcomeSucceeded: DLI reported FINISHED, or success for a Spark job.
	OutcomeSucceeded Outcome = "Succeeded"
	// OutcomeFailed: DLI reported FAILED, or dead for a Spark job.
	OutcomeFailed Outcome = "Failed"
	// OutcomeCancelled: DLI reported CANCELLED.
	OutcomeCancelled Outcome = "Cancelled"
	// OutcomeNotFound: DLI reported repeatedly that it has no such job.
	OutcomeNotFound Outcome = "NotFound"
)

// Phase is the state of a DLIJob in one word.
type Phase string

// The phases of a DLIJob. The phase of a completed job is its outcome.
const (
	// PhasePending: DLI is launching the job, or has not reported a status yet.
	PhasePending Phase = "Pending"
	// PhaseRunning: the job is active, as last reported by DLI.
	PhaseRunning Phase = "Running"
	// PhaseSuspended: spec.suspend is true and the job has not completed.
	PhaseSuspended Phase = "Suspended"
	// PhaseStalled: waiting does not help; user action is required.
	PhaseStalled Phase = "Stalled"
	// PhaseSucceeded: DLI reported FINISHED.
	PhaseSucceeded Phase = "Succeeded"
	// PhaseFailed: DLI reported FAILED.
	PhaseFailed Phase = "Failed"
	// PhaseCancelled: DLI reported CANCELLED.
	PhaseCancelled Phase = "Cancelled"
	// PhaseNotFound: DLI reported repeatedly that it has no such job.
	PhaseNotFound Phase = "NotFound"
)

// DLIJobStatus is what DLI last reported about the job. If a poll fails,
// everything except the conditions is kept.
type DLIJobStatus struct {
	// conditions summarize the job: Ready, Succeeded, Completed and Synced are
	// always present once the operator has seen the DLIJob; Reconciling and
	// Stalled are present only while True, and never both.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that this status describes;
	// -1 until the operator has seen the DLIJob.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// jobStatus is the status of the job as reported by DLI (DLI: status, of a
	// Spark job state), such as LAUNCHING, RUNNING, FINISHED, FAILED or CANCELLED,
	// and of a Spark job starting, running, recovering, success or dead. The set
	// is open: DLI may add values. Absent until the first successful poll.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	JobStatus string `json:"jobStatus,omitempty"`

	// outcome is how the job ended: Succeeded, Failed, Cancelled or NotFound.
	// Absent until the job has ended. Once set it is final, no matter what DLI
	// reports later; only NotFound is cleared, if a requested poll finds the job.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Outcome Outcome `json:"outcome,omitempty"`

	// phase is the state of the DLIJob in one word: Pending, Running, Suspended,
	// Stalled or, once completed, its outcome. It is derived from the conditions
	// and jobStatus, for tools that can only compare strings. A Stalled DLIJob
	// recovers if the cause is fixed. Absent until the operator has seen the
	// DLIJob.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Phase Phase `json:"phase,omitempty"`

	// jobType is the kind of the job (DLI: job_type), such as QUERY or INSERT;
	// SPARK for a Spark job.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	JobType string `json:"jobType,omitempty"`

	// jobMode is async or sync (DLI: job_mode). Absent if DLI does not report it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	JobMode string `json:"jobMode,omitempty"`

	// applicationID is the ID of the Spark application (DLI: appId), the latest
	// one if DLI has started the job again. Present for Spark jobs once DLI
	// reports it.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ApplicationID string `json:"applicationID,omitempty"`

	// jobName is the name that a Spark job was submitted with (DLI: name).
	// +optional
	// +kubebuilder:validation:MaxLength=256
	JobName string `json:"jobName,omitempty"`

	// image is the container image of a Spark job (DLI: image).
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`

	// queueName is the queue that runs the job (DLI: queue_name, of a Spark job
	// queue).
	// +optional
	// +kubebuilder:validation:MaxLength=256
	QueueName string `json:"queueName,omitempty"`

	// owner is the user that submitted the job (DLI: owner).
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Owner string `json:"owner,omitempty"`

	// databaseName is the database of the job's table (DLI: database_name).
	// Present for IMPORT, EXPORT and QUERY.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DatabaseName string `json:"databaseName,omitempty"`

	// tableName is the job's table (DLI: table_name). Present for IMPORT, EXPORT
	// and QUERY.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	TableName string `json:"tableName,omitempty"`

	// resultPath is where DLI stored the result (DLI: result_path), as an obs://
	// URL. Absent unless the queue stores results.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ResultPath string `json:"resultPath,omitempty"`

	// startTime is when the job started (DLI: start_time).
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the job ended: startTime plus the duration or, if DLI
	// reports no duration, when the operator saw the end. Absent until the job has
	// ended.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// durationMilliseconds is how long the job has run (DLI: duration), in
	// milliseconds.
	// +optional
	DurationMilliseconds *int64 `json:"durationMilliseconds,omitempty"`

	// duration is durationMilliseconds in human-readable form, such as 2.523s or
	// 1m33s.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Duration string `json:"duration,omitempty"`

	// inputRowCount is the number of rows that an INSERT scanned (DLI:
	// input_row_count).
	// +optional
	InputRowCount *int64 `json:"inputRowCount,omitempty"`

	// badRowCount is the number of bad rows among those that an INSERT scanned
	// (DLI: bad_row_count).
	// +optional
	BadRowCount *int64 `json:"badRowCount,omitempty"`

	// resultCount is the number of rows that the job returned or, for an INSERT,
	// inserted (DLI: result_count).
	// +optional
	ResultCount *int64 `json:"resultCount,omitempty"`

	// inputBytes is the size of the files that the job scanned (DLI: input_size),
	// in bytes.
	// +optional
	InputBytes *int64 `json:"inputBytes,omitempty"`

	// progress is how much of the job is done, in percent (DLI: progress). Only
	// present while the job runs, with reportProgress, and if DLI reports it. It
	// is informational only.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Progress *int32 `json:"progress,omitempty"`

	// cost is what a SQL job that has ended has used, written a moment after its
	// outcome. Absent without the connection's reportCost, and if DLI does not
	// report it within two minutes of the outcome. It is informational only.
	// +optional
	Cost *JobCost `json:"cost,omitempty"`

	// columns is the schema of the result (DLI: detail), at most 256 columns.
	// Absent if DLI reports none, or one that cannot be parsed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Columns []Column `json:"columns,omitempty"`

	// columnsOmitted is the number of further columns that are not listed.
	// +optional
	ColumnsOmitted int32 `json:"columnsOmitted,omitempty"`

	// tags are the tags that a SQL job was submitted with (DLI: tags), at most 20.
	// Absent if it has none.
	// +optional
	// +listType=map
	// +listMapKey=key
	// +kubebuilder:validation:MaxItems=20
	Tags []Tag `json:"tags,omitempty"`

	// statement is the SQL text (DLI: statement), at most 4096 bytes.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Statement string `json:"statement,omitempty"`

	// statementTruncated is true if the SQL text was truncated.
	// +optional
	StatementTruncated bool `json:"statementTruncated,omitempty"`

	// message is DLI's message about the job (DLI: message) or, of a Spark job
	// that has failed, the last lines of its log (DLI: log), at most 4096 bytes
	// and without control characters. Do not parse it: its language and wording
	// vary.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`

	// error is the job's own error. Present only if the job failed or was
	// cancelled.
	// +optional
	Error *JobError `json:"error,omitempty"`

	// lastPollTime is when DLI last returned a status, as of the last write. While
	// a job runs, it is written together with the figures, at most once a minute,
	// and not at all while nothing changes.
	// +optional
	LastPollTime *metav1.Time `json:"lastPollTime,omitempty"`

	// lastHandledPollRequest is the value of the annotation
	// dli.huaweicloud.com/poll-requested-at that the operator last acted on.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledPollRequest string `json:"lastHandledPollRequest,omitempty"`

	// notFoundSince is the time since which DLI has reported that it has no such
	// job: at least three responses over two minutes confirm it. It is kept here
	// so that a restart of the operator does not reset the time. Absent while DLI
	// has the job.
	// +optional
	NotFoundSince *metav1.Time `json:"notFoundSince,omitempty"`

	// unreadableSince is the time since which user action has been required to
	// read the job. It is kept here so that a restart of the operator does not
	// reset the grace period. Absent while no user action is required.
	// +optional
	UnreadableSince *metav1.Time `json:"unreadableSince,omitempty"`
}

// Column is one column of a job's result.
type Column struct {
	// name of the column.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// type of the column in SQL form, such as `int` or `array<struct<a:int>>`.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Type string `json:"type"`

	// nullable is true if the column may contain NULL.
	// +required
	Nullable bool `json:"nullable"`
}

// Tag is one tag of a job.
type Tag struct {
	// key of the tag.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Key string `json:"key"`

	// value of the tag; it may be empty.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}

// JobCost is what a job has used, as DLI's list of jobs reports it.
type JobCost struct {
	// endTime is when the job ended (DLI: end_time). Absent if DLI does not report
	// it.
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`

	// cpuCost is the CPU that the job has used in total (DLI: cpu_cost), in DLI's
	// own unit, which its documentation does not name. Absent if DLI does not
	// report it.
	// +optional
	CPUCost *int64 `json:"cpuCost,omitempty"`

	// outputBytes is the size of the job's output (DLI: output_byte), in bytes.
	// Absent if DLI does not report it.
	// +optional
	OutputBytes *int64 `json:"outputBytes,omitempty"`
}

// JobError is the error of the job itself, as opposed to an error while
// polling it.
type JobError struct {
	// code is the first DLI error code in the message, such as DLI.0002. Absent if
	// the message contains none.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Code string `json:"code,omitempty"`

	// message is DLI's error message, at most 4096 bytes and without control
	// characters.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`
}

// DLIJob watches one SQL or Spark job in Data Lake Insight (DLI). The operator
// polls the job's status until the job ends; it never submits, cancels or
// deletes jobs in DLI.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=dlijobs,shortName=dlij,categories=dli
// +kubebuilder:printcolumn:name="STATUS",type=string,JSONPath=`.status.jobStatus`,description="Status of the job as reported by DLI"
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="True when the job succeeded"
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is Ready or not"
// +kubebuilder:printcolumn:name="ROWS",type=integer,JSONPath=`.status.resultCount`,description="Rows returned or inserted"
// +kubebuilder:printcolumn:name="DURATION",type=string,JSONPath=`.status.duration`,description="How long the job has run"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`,description="Age of the DLIJob"
// +kubebuilder:printcolumn:name="JOB-ID",type=string,priority=1,JSONPath=`.spec.jobID`,description="ID of the job in DLI"
// +kubebuilder:printcolumn:name="PROGRESS",type=integer,priority=1,JSONPath=`.status.progress`,description="Percent done, with reportProgress"
// +kubebuilder:printcolumn:name="TYPE",type=string,priority=1,JSONPath=`.status.jobType`,description="Kind of the job"
// +kubebuilder:printcolumn:name="QUEUE",type=string,priority=1,JSONPath=`.status.queueName`,description="Queue that runs the job"
// +kubebuilder:printcolumn:name="OWNER",type=string,priority=1,JSONPath=`.status.owner`,description="User that submitted the job"
// +kubebuilder:printcolumn:name="STARTED",type=date,priority=1,JSONPath=`.status.startTime`,description="How long ago the job started"
// +kubebuilder:printcolumn:name="COMPLETED",type=date,priority=1,JSONPath=`.status.completionTime`,description="How long ago the job ended"
// +kubebuilder:printcolumn:name="SYNCED",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Synced")].status`,description="True when the last poll succeeded"
// +kubebuilder:printcolumn:name="MESSAGE",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,description="What happened, and what to do"
type DLIJob struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec names the job and says how to watch it.
	// +required
	Spec DLIJobSpec `json:"spec"`

	// status is what DLI last reported about the job.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status DLIJobStatus `json:"status,omitempty"`
}

// DLIJobList is a list of DLIJobs.
//
// +kubebuilder:object:root=true
type DLIJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DLIJob `json:"items"`
}

// IsCompleted reports whether the job has ended, successfully or not.
func (j *DLIJob) IsCompleted() bool { return j.Status.Outcome != "" }

// IsSucceeded reports whether the job has ended and succeeded.
func (j *DLIJob) IsSucceeded() bool { return j.Status.Outcome == OutcomeSucceeded }

// GetConditions returns the conditions of the DLIJob.
func (j *DLIJob) GetConditions() []metav1.Condition { return j.Status.Conditions }
