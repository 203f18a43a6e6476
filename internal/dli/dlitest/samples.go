// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package dlitest

import "time"

// SampleUser is the user of every server until SetUsers: an access key and a token, both
// valid for one project.
func SampleUser() User {
	return User{
		ProjectID:       "48cc2c48765f481480c7db940d6409d1",
		AccessKeyID:     "AKEXAMPLE",
		SecretAccessKey: "SKEXAMPLE",
		Token:           "TOKENEXAMPLE",
	}
}

// The IDs of SampleJobs.
const (
	SampleFinished  = "208b08d4-0dc2-4dd7-8879-ddd4c020d7aa"
	SampleInserted  = "6d2146a0-c2d5-41bd-8ca0-ca9694ada992"
	SampleFailed    = "9e8f7a6b-5c4d-4e3f-8a1b-0c9d8e7f6a5b"
	SampleCancelled = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
	SampleBatch     = "0a324461-d9d9-45da-a52a-3b3c7a3d809e"
)

// SampleJobs returns one job for each way to end, and a Spark job, all within 25 seconds.
func SampleJobs() []Job {
	return []Job{
		Query(SampleFinished).Launching(3 * time.Second).Running(9 * time.Second).Finishes(4),
		Insert(SampleInserted).Launching(3*time.Second).Running(17*time.Second).Inserts(998, 2),
		Query(SampleFailed).Launching(3 * time.Second).Running(12 * time.Second).Fails(
			"Please contact DLI service. DLI.0002: FileNotFoundException: getFileStatus on " +
				"obs://bucket/table: status [404]"),
		Query(SampleCancelled).Launching(15 * time.Second).Cancelled("Execution Timeout"),
		Batch(SampleBatch).Launching(4 * time.Second).Running(10 * time.Second).Finishes(0),
	}
}
