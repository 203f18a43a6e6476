// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dli

// statusBody is DLI's answer about a job: every member in some edition of the API
// document, with its meaning. The editions disagree on which are mandatory, and DLI
// does not follow any of them: only job_id and status are required here.
type statusBody struct {
	// IsSuccess says whether the question was answered, not whether the job succeeded.
	// Absent means true: the answer is the ID and the status.
	IsSuccess lenientFlag `json:"is_success"`
	// Message says why a job failed or was cancelled, as prose of any length, often
	// with an error code. If IsSuccess is false, it says why there is no answer.
	Message prose `json:"message"`

	// JobID is the requested ID.
	JobID lenientText `json:"job_id"`
	// JobType is one of DDL, DCL, IMPORT, EXPORT, QUERY, INSERT, DATA_MIGRATION,
	// UPDATE, DELETE, RESTART_QUEUE and SCALE_QUEUE.
	JobType lenientText `json:"job_type"`
	// JobMode is async or sync.
	JobMode lenientText `json:"job_mode"`
	// QueueName is the queue that the job was submitted to.
	QueueName lenientText `json:"queue_name"`
	// Owner is the user who submitted the job.
	Owner lenientText `json:"owner"`
	// StartTime is in milliseconds since 1970.
	StartTime lenientInteger `json:"start_time"`
	// Duration is in milliseconds, so far or in total.
	Duration lenientInteger `json:"duration"`
	// Status is one of LAUNCHING, RUNNING, SCALING, FINISHED, FAILED and CANCELLED.
	Status lenientText `json:"status"`

	// InputRowCount is how many rows an INSERT read.
	InputRowCount lenientInteger `json:"input_row_count"`
	// BadRowCount is how many of them were bad.
	BadRowCount lenientInteger `json:"bad_row_count"`
	// InputSize is how many bytes were read.
	InputSize lenientInteger `json:"input_size"`
	// ResultCount is how many rows were returned, or inserted by an INSERT.
	ResultCount lenientInteger `json:"result_count"`
	// DatabaseName and TableName are the target of an IMPORT, EXPORT or QUERY.
	DatabaseName lenientText `json:"database_name"`
	TableName    lenientText `json:"table_name"`
	// Detail is the result's schema, as JSON in a string: see parseSchema.
	Detail quotedJSON `json:"detail"`
	// Statement is the SQL text.
	Statement prose `json:"statement"`
	// ResultPath is where the result is stored, on queues that store results.
	ResultPath lenientText `json:"result_path"`

	// Tags are the tags that the job was submitted with, an array of tagBody.
	Tags rawJSON `json:"tags"`
	// UserConf is the job's Spark parameters, as JSON in a string.
	UserConf unread `json:"user_conf"`
	// ResultFormat is csv, the only format of stored results.
	ResultFormat unread `json:"result_format"`
	// ExecutionDetailsPath is where the details of the execution are stored.
	ExecutionDetailsPath unread `json:"execution_details_path"`
}

// tagBody is a tag of a job.
type tagBody struct {
	Key   lenientScalar `json:"key"`
	Value lenientScalar `json:"value"`
}

// listBody is a page of jobs.
type listBody struct {
	// IsSuccess and Message are as in statusBody.
	IsSuccess lenientFlag `json:"is_success"`
	Message   prose       `json:"message"`
	// JobCount is how many jobs there are on all pages.
	JobCount lenientInteger `json:"job_count"`
	// Jobs is an array of rowBody.
	Jobs rawJSON `json:"jobs"`
}

// rowBody is a job on a page. Members with the same name as in statusBody have the
// same meaning. The long texts are not read, because a page has 100 of each.
type rowBody struct {
	JobID         lenientText    `json:"job_id"`
	JobType       lenientText    `json:"job_type"`
	QueueName     lenientText    `json:"queue_name"`
	Owner         lenientText    `json:"owner"`
	StartTime     lenientInteger `json:"start_time"`
	Duration      lenientInteger `json:"duration"`
	Status        lenientText    `json:"status"`
	InputRowCount lenientInteger `json:"input_row_count"`
	BadRowCount   lenientInteger `json:"bad_row_count"`
	InputSize     lenientInteger `json:"input_size"`
	ResultCount   lenientInteger `json:"result_count"`
	DatabaseName  lenientText    `json:"database_name"`
	TableName     lenientText    `json:"table_name"`
	// EndTime is in milliseconds since 1970, for a job that has ended.
	EndTime lenientInteger `json:"end_time"`
	// CPUCost, of which the API document names no unit, and OutputByte are numbers in
	// strings.
	CPUCost    lenientInteger `json:"cpu_cost"`
	OutputByte lenientInteger `json:"output_byte"`

	Detail               unread `json:"detail"`
	Statement            unread `json:"statement"`
	Message              unread `json:"message"`
	Tags                 unread `json:"tags"`
	ResultPath           unread `json:"result_path"`
	ResultFormat         unread `json:"result_format"`
	ExecutionDetailsPath unread `json:"execution_details_path"`
	// WithColumnHeader says whether an export has a header line.
	WithColumnHeader unread `json:"with_column_header"`
	// EngineType is spark or hetuEngine.
	EngineType unread `json:"engine_type"`
}

// batchBody is DLI's answer about a Spark job. It has no member for a reason: only the log
// says why a batch is dead. The editions disagree on most members; only id and state are
// required here.
type batchBody struct {
	// IsSuccess and Message are as in statusBody; batches have neither.
	IsSuccess lenientFlag `json:"is_success"`
	Message   prose       `json:"message"`

	// ID is the requested ID.
	ID lenientText `json:"id"`
	// State is one of starting, running, recovering, success and dead, in any case.
	State lenientText `json:"state"`
	// AppID is a string or an array of strings; "" or null at first.
	AppID rawJSON     `json:"appId"`
	Name  lenientText `json:"name"`
	Owner lenientText `json:"owner"`
	// Queue, and in older editions ClusterName, is the queue.
	Queue       lenientText `json:"queue"`
	ClusterName lenientText `json:"cluster_name"`
	Image       lenientText `json:"image"`
	// Log has the last 10 lines.
	Log rawJSON `json:"log"`
	// CreateTime and UpdateTime are in milliseconds since 1970. UpdateTime moves while the
	// batch runs.
	CreateTime lenientInteger `json:"create_time"`
	UpdateTime lenientInteger `json:"update_time"`
	// Duration is in milliseconds, in newer editions.
	Duration lenientInteger `json:"duration"`

	// ReqBody is the submission as JSON in a string. It can hold secrets.
	ReqBody      unread `json:"req_body"`
	ProxyUser    unread `json:"proxyUser"`
	Kind         unread `json:"kind"`
	SCType       unread `json:"sc_type"`
	Feature      unread `json:"feature"`
	SparkVersion unread `json:"spark_version"`
}

// batchListBody is a page of batches.
type batchListBody struct {
	IsSuccess lenientFlag `json:"is_success"`
	Message   prose       `json:"message"`
	// Total is how many batches there are on all pages.
	Total lenientInteger `json:"total"`
	// Sessions is an array of batchRowBody.
	Sessions rawJSON `json:"sessions"`
	// From is the index of the first row, and CreateTime that of the page.
	From       unread `json:"from"`
	CreateTime unread `json:"create_time"`
}

// batchRowBody is a batch on a page. Its members are those of batchBody.
type batchRowBody struct {
	ID          lenientText    `json:"id"`
	State       lenientText    `json:"state"`
	Owner       lenientText    `json:"owner"`
	Queue       lenientText    `json:"queue"`
	ClusterName lenientText    `json:"cluster_name"`
	CreateTime  lenientInteger `json:"create_time"`
	UpdateTime  lenientInteger `json:"update_time"`
	Duration    lenientInteger `json:"duration"`
}

// progressBody is the progress of a job.
type progressBody struct {
	// IsSuccess and Message are as in statusBody.
	IsSuccess lenientFlag `json:"is_success"`
	Message   prose       `json:"message"`
	JobID     lenientText `json:"job_id"`
	Status    lenientText `json:"status"`
	// Progress is from 0 to 1, of the sub job that runs or of the whole.
	Progress lenientNumber `json:"progress"`
	// SubJobID counts the parts of a job; it may be missing before and after.
	SubJobID unread `json:"sub_job_id"`
	SubJobs  unread `json:"sub_jobs"`
}

// errorBody is the body of an error. DLI and its gateway send
//
//	{"error_code":"DLI.0002","error_msg":"...","request_id":"..."}
//
// IAM sends an object error, and others only code and message. Everything else in the
// body, in particular encoded_authorization_message and error_json_opt, must not be
// shown.
type errorBody struct {
	ErrorCode lenientScalar `json:"error_code"`
	ErrorMsg  prose         `json:"error_msg"`
	Error     iamError      `json:"error"`
	Code      lenientScalar `json:"code"`
	Message   prose         `json:"message"`
	// RequestID is the gateway's ID of the request.
	RequestID prose `json:"request_id"`
}

// iamError is {"code":401,"message":"..."}, with a number or a string as code. Others
// send a plain string, which is the message.
type iamError struct {
	Code    lenientScalar `json:"code"`
	Message prose         `json:"message"`
}

func (e *iamError) UnmarshalJSON(text []byte) error {
	type members iamError
	*e = iamError{Message: prose{text}}
	readObject(text, (*members)(e))
	return nil
}

// identityBody is CCE's answer to a pod that requests its credentials.
type identityBody struct {
	Credentials identityCredentials `json:"credentials"`
}

type identityCredentials struct {
	AccessKeyID     lenientText `json:"accessKeyId"`
	SecretAccessKey lenientText `json:"secretAccessKey"`
	SecurityToken   lenientText `json:"securityToken"`
	// Expiration is in RFC 3339 format.
	Expiration lenientText `json:"expiration"`
}

func (c *identityCredentials) UnmarshalJSON(text []byte) error {
	type members identityCredentials
	*c = identityCredentials{}
	readObject(text, (*members)(c))
	return nil
}
