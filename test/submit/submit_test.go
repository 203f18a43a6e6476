// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

// Package submit tests the script that submits SQL, against the simulated DLI.
package submit

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
)

// submission is a run of submit-to-dli.sh.
type submission struct {
	shell  []string
	args   []string
	stdin  string
	env    []string
	status int
	stdout string
	stderr string
}

// The environment variables of the ways to authenticate. The last one wins in a
// command's environment, so they can be added to others.
var (
	withToken = func(u dlitest.User) []string {
		return []string{"DLI_TOKEN=" + u.Token, "DLI_ACCESS_KEY_ID=", "DLI_SECRET_ACCESS_KEY=", "DLI_SECURITY_TOKEN="}
	}
	withKey = func(u dlitest.User) []string {
		return []string{"DLI_TOKEN=", "DLI_ACCESS_KEY_ID=" + u.AccessKeyID, "DLI_SECRET_ACCESS_KEY=" + u.SecretAccessKey, "DLI_SECURITY_TOKEN=" + u.SecurityToken}
	}
)

// submitted runs the script against a server, and checks that the output does not
// contain the credentials.
func submitted(t *testing.T, server *dlitest.Server, s submission) submission {
	t.Helper()
	command := s.command(t, server)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	s.status, s.stdout, s.stderr = command.ProcessState.ExitCode(), stdout.String(), stderr.String()
	for _, secret := range secrets(dlitest.SampleUser()) {
		if strings.Contains(s.stdout+s.stderr, secret) {
			t.Errorf("the output contains the credentials:\n%s%s", s.stdout, s.stderr)
		}
	}
	return s
}

func secrets(u dlitest.User) []string { return []string{u.Token, u.SecretAccessKey} }

// command returns the command of the script, with an access key unless s.env says
// otherwise.
func (s submission) command(t *testing.T, server *dlitest.Server) *exec.Cmd {
	t.Helper()
	script, err := filepath.Abs("../../config/examples/submit-to-dli.sh")
	if err != nil {
		t.Fatal(err)
	}
	args := append(append(s.shell, script), s.args...)
	command := exec.CommandContext(t.Context(), args[0], args[1:]...)
	user := dlitest.SampleUser()
	command.Env = append(os.Environ(), "DLI_ENDPOINT="+server.URL(), "DLI_PROJECT_ID="+user.ProjectID)
	command.Env = append(command.Env, append(withKey(user), s.env...)...)
	command.Stdin = strings.NewReader(s.stdin)
	return command
}

func TestSQLIsSubmittedUnchanged(t *testing.T) {
	server := newDLI(t)
	for name, sql := range map[string]string{
		"quotes and backslashes": `SELECT "a", 'b\'', '\\N', ` + "`c`" + ` FROM t`,
		"line breaks":            "-- a comment\r\nSELECT 1\n\n\tFROM t\n",
		"other scripts":          "SELECT '已取消', 'é', '🙂', '\u2028'",
		"shell expansions":       `SELECT '$HOME $(id) ${x} %s * \n' FROM t WHERE a != 'b'`,
		"control characters":     "SELECT '\x01\x7f'",
		"looks like an option":   "-e",
		"long":                   "SELECT '" + strings.Repeat("x", 100_000) + "'",
	} {
		file := filepath.Join(t.TempDir(), "with space.sql")
		if err := os.WriteFile(file, []byte(sql), 0o600); err != nil {
			t.Fatal(err)
		}
		for from, s := range map[string]submission{
			"a file":         {args: []string{file}},
			"standard input": {stdin: sql},
			"an argument":    {args: []string{"-e", sql}},
		} {
			t.Run(name+" from "+from, func(t *testing.T) {
				s = submitted(t, server, s)
				job, found := server.Job(strings.TrimSuffix(s.stdout, "\n"))
				if s.status != 0 || !found || s.stderr != "" {
					t.Fatalf("got exit code %d, stdout %q and stderr %q", s.status, s.stdout, s.stderr)
				}
				if job.Statement != sql {
					t.Errorf("DLI was sent %q, want %q", job.Statement, sql)
				}
			})
		}
	}
	t.Run("with queue and database, in every shell", func(t *testing.T) {
		// This would make curl print the token.
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("verbose\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, shell := range [][]string{{"sh"}, {"bash"}, {"sh", "-x"}} {
			s := submitted(t, server, submission{shell: shell, stdin: "SELECT 1", env: []string{"DLI_QUEUE=fast", "DLI_DATABASE=shop", "HOME=" + home}})
			job, found := server.Job(strings.TrimSpace(s.stdout))
			if !found || job.Queue != "fast" || job.Database != "shop" {
				t.Errorf("with %s got %+v, %s", shell, job, s.stderr)
			}
		}
	})
}

func TestEveryKindOfCredentialsIsAccepted(t *testing.T) {
	project := dlitest.SampleUser().ProjectID
	for name, user := range map[string]dlitest.User{
		"an access key":           {AccessKeyID: "AK", SecretAccessKey: "SK"},
		"a temporary access key":  {AccessKeyID: "AK", SecretAccessKey: "SK", SecurityToken: "a+b/c=="},
		"every character":         {AccessKeyID: "AK", SecretAccessKey: `!"#$%&'()*+,-./:;<=>?@[\]^_` + "`{|}~"},
		"letters and digits":      {AccessKeyID: "AK", SecretAccessKey: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"},
		"a secret of a block":     {AccessKeyID: "AK", SecretAccessKey: strings.Repeat("s", 64)},
		"a secret of one byte":    {AccessKeyID: "AK", SecretAccessKey: "s"},
		"a token":                 {Token: "TOKEN"},
		"a token of special size": {Token: strings.Repeat("t", 16_000)},
	} {
		user.ProjectID = project
		for _, shell := range [][]string{{"sh"}, {"bash"}, {"sh", "-x"}} {
			t.Run(name+" in "+strings.Join(shell, " "), func(t *testing.T) {
				t.Parallel()
				server := newDLI(t)
				server.SetUsers(user)
				env := withKey(user)
				if user.Token != "" {
					env = withToken(user)
				}
				s := submitted(t, server, submission{shell: shell, stdin: "SELECT 'é'", env: env})
				if s.status != 0 || s.stderr != "" && len(shell) == 1 {
					t.Errorf("got exit code %d and stderr %q", s.status, s.stderr)
				}
				if user.SecretAccessKey != "" && len(user.SecretAccessKey) > 2 && strings.Contains(s.stderr, user.SecretAccessKey) {
					t.Errorf("the trace has the secret: %s", s.stderr)
				}
			})
		}
	}
}

func TestSparkJobsAreSubmittedUnchanged(t *testing.T) {
	server := newDLI(t)
	for name, c := range map[string]struct {
		job, queue string
		// want is the body that DLI receives.
		want string
	}{
		"with its own queue": {`{"file":"obs://b/a.jar","className":"org.example.Main","queue":"mine","args":["é","$x ` + "`id`" + `"]}`, "default",
			`{"queue":"mine","file":"obs://b/a.jar","className":"org.example.Main","args":["é","$x ` + "`id`" + `"]}`},
		"with the queue of the environment": {`{"file":"obs://b/a.jar"}`, "default", `{"queue":"default","file":"obs://b/a.jar"}`},
		"without a queue":                   {`{"file":"obs://b/a.jar"}`, "", `{"file":"obs://b/a.jar"}`},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "with space.json")
			if err := os.WriteFile(file, []byte(c.job), 0o600); err != nil {
				t.Fatal(err)
			}
			s := submitted(t, server, submission{args: []string{"--spark", file}, env: []string{"DLI_QUEUE=" + c.queue}})
			job, found := server.Job(strings.TrimSuffix(s.stdout, "\n"))
			if s.status != 0 || !found || !job.Batch || s.stderr != "" {
				t.Fatalf("got exit code %d, stdout %q and stderr %q", s.status, s.stdout, s.stderr)
			}
			var body bytes.Buffer
			if err := json.Compact(&body, []byte(job.Statement)); err != nil || body.String() != c.want {
				t.Errorf("DLI was sent %s, want %s: %v", job.Statement, c.want, err)
			}
		})
	}
}

// The exit code says whether the SQL may be running. It is never submitted twice.
func TestFailedSubmissions(t *testing.T) {
	const sql, notSubmitted, notKnown = "SELECT 1", 1, 2
	user := dlitest.SampleUser()
	expired := withToken(dlitest.User{Token: "EXPIRED"})
	wrongKey := withKey(dlitest.User{AccessKeyID: user.AccessKeyID, SecretAccessKey: "WRONG"})
	answer := func(status int, body string) *dlitest.Response { return &dlitest.Response{Status: status, Body: body} }
	for name, c := range map[string]struct {
		submission
		answer *dlitest.Response
		status int
		says   string
	}{
		"a wrong secret":            {submission{env: wrongKey}, nil, notSubmitted, "HTTP 401, APIGW.0301, Incorrect IAM authentication information: verify aksk signature fail, request 0"},
		"an expired token":          {submission{env: expired}, nil, notSubmitted, "HTTP 401, APIGW.0301, Incorrect IAM authentication information: decrypt token fail, request 0"},
		"another tenant's project":  {submission{env: []string{"DLI_PROJECT_ID=ab12"}}, nil, notSubmitted, "HTTP 403, DLI.0003, Permission denied"},
		"invalid SQL":               {submission{}, dlitest.DLIError(http.StatusBadRequest, "DLI.0004", "near 'SELCT'\n\x1b[31m"), notSubmitted, "HTTP 400, DLI.0004, near 'SELCT' [31m, request 0"},
		"too many requests":         {submission{}, dlitest.GatewayError(http.StatusTooManyRequests, "APIGW.0308", "throttled", "abc"), notSubmitted, "HTTP 429, APIGW.0308, throttled, request 0"},
		"a failure with status 200": {submission{}, answer(200, `{"is_success":false,"message":"no such queue"}`), notSubmitted, "HTTP 200, no such queue"},
		"a redirect":                {submission{}, answer(302, "<html>"), notSubmitted, "HTTP 302, not a response of DLI"},
		"a response with the token": {submission{env: withToken(user)}, dlitest.DLIError(http.StatusUnauthorized, "DLI.0015", "cannot parse "+user.Token+"."), notSubmitted, "cannot parse [redacted]."},
		"a response with the key":   {submission{}, dlitest.DLIError(http.StatusUnauthorized, "DLI.0015", "cannot use "+user.SecretAccessKey+"."), notSubmitted, "cannot use [redacted]."},
		"a gateway error":           {submission{}, answer(502, "<html>"), notKnown, "HTTP 502, not a response of DLI"},
		"a DLI error":               {submission{}, dlitest.DLIError(http.StatusBadRequest, "DLI.0999", "Server-side errors."), notKnown, "DLI.0999"},
		"a timeout in DLI":          {submission{}, dlitest.DLIError(http.StatusRequestTimeout, "DLI.0019", "Get sync job result timeout"), notKnown, "HTTP 408"},
		"no job ID":                 {submission{}, answer(200, `{"is_success":true,"job_id":null}`), notKnown, "no job ID"},
		"an invalid job ID":         {submission{}, answer(200, `{"is_success":true,"job_id":"a\nspec: {}"}`), notKnown, "no job ID"},
		"not JSON":                  {submission{}, answer(200, "<html>"), notKnown, "no job ID"},
		"a truncated response":      {submission{}, &dlitest.Response{Body: `{"is_success":true,"job_id":"j1"}`, Cut: true}, notKnown, "no response"},
		"no response":               {submission{}, &dlitest.Response{Reset: true}, notKnown, "no response"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newDLI(t)
			server.SetCallFault(dlitest.CallSubmit, c.answer)
			c.stdin = sql
			s := submitted(t, server, c.submission)
			if s.status != c.status || s.stdout != "" || !strings.Contains(s.stderr, c.says) || strings.Contains(s.stderr, "may be running") != (c.status == notKnown) {
				t.Errorf("got exit code %d, stdout %q and stderr\n%swant exit code %d and %q", s.status, s.stdout, s.stderr, c.status, c.says)
			}
			if sent := server.Stats().ByCall[dlitest.CallSubmit]; sent != 1 {
				t.Errorf("it was submitted %d times", sent)
			}
		})
	}
}

func TestRefusedSubmissions(t *testing.T) {
	server := newDLI(t)
	without := t.TempDir()
	for _, program := range []string{"sh", "curl", "jq"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(without, program)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		submission
		says string
	}{
		"no SQL":                 {submission{}, "there is no SQL"},
		"blank SQL":              {submission{stdin: " \n"}, "there is no SQL"},
		"SQL that is not UTF-8":  {submission{stdin: "SELECT '\xe9'"}, "not UTF-8"},
		"a missing file":         {submission{args: []string{"missing.sql"}}, "cannot read missing.sql"},
		"a missing Spark job":    {submission{args: []string{"--spark", "missing.json"}}, "cannot read missing.json"},
		"a Spark job as SQL":     {submission{args: []string{"--spark", "submit_test.go"}}, "not a JSON object with the field file"},
		"--spark without a file": {submission{args: []string{"--spark"}}, "usage"},
		"an unknown option":      {submission{args: []string{"-f"}}, "usage"},
		"two files":              {submission{args: []string{"a", "b"}}, "usage"},
		"-e without SQL":         {submission{args: []string{"-e"}}, "usage"},
		"no endpoint":            {submission{env: []string{"DLI_ENDPOINT="}}, "DLI_ENDPOINT is not set"},
		"no credentials":         {submission{env: withToken(dlitest.User{})}, "nor DLI_TOKEN are set"},
		"no access key ID":       {submission{env: []string{"DLI_ACCESS_KEY_ID="}}, "DLI_ACCESS_KEY_ID is not set"},
		"no secret":              {submission{env: []string{"DLI_SECRET_ACCESS_KEY="}}, "DLI_SECRET_ACCESS_KEY is not set"},
		"only a security token":  {submission{env: append(withToken(dlitest.User{}), "DLI_SECURITY_TOKEN=abc")}, "DLI_ACCESS_KEY_ID is not set"},
		"a token and a key":      {submission{env: []string{"DLI_TOKEN=abc"}}, "both DLI_TOKEN and an access key are set"},
		"a token with a newline": {submission{env: withToken(dlitest.User{Token: "abc\r"})}, "white space"},
		"a key with a newline":   {submission{env: []string{"DLI_SECRET_ACCESS_KEY=abc\n"}}, "white space"},
		"a secret of 65 bytes":   {submission{env: []string{"DLI_SECRET_ACCESS_KEY=" + strings.Repeat("s", 65)}}, "longer than 64"},
		"http":                   {submission{env: []string{"DLI_ENDPOINT=http://dli.example.com"}}, "must start with https"},
		"a path as a project":    {submission{env: []string{"DLI_PROJECT_ID=a/../b"}}, "letters and digits"},
		"an unused endpoint":     {submission{stdin: "SELECT 1", env: []string{"DLI_ENDPOINT=http://127.0.0.1:1"}}, "not submitted: no connection"},
		"no openssl":             {submission{shell: []string{filepath.Join(without, "sh")}, env: []string{"PATH=" + without}}, "openssl is not installed"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			s := submitted(t, server, c.submission)
			if s.status != 1 || s.stdout != "" || !strings.Contains(s.stderr, c.says) {
				t.Errorf("got exit code %d, stdout %q and stderr %q, want %q", s.status, s.stdout, s.stderr, c.says)
			}
		})
	}
	if sent := server.Stats().Requests; sent != 0 {
		t.Errorf("DLI received %d requests", sent)
	}
}

// Other users of the machine can see the command lines of all processes. Each program
// that the script runs is replaced by one that notes its command line first.
func TestTheCredentialsAreNotInACommandLine(t *testing.T) {
	user := dlitest.SampleUser()
	for name, env := range map[string][]string{"token": withToken(user), "access key": withKey(user)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			note := filepath.Join(dir, "note")
			for _, program := range []string{"curl", "jq", "openssl", "od", "cut", "cat", "tr", "sed", "tail", "date", "mktemp", "rm"} {
				path, err := exec.LookPath(program)
				if err != nil {
					t.Fatal(err)
				}
				spy := "#!/bin/sh\nprintf '%s\\n' " + program + ` "$*" >>` + note + "\nexec " + path + ` "$@"` + "\n"
				if err := os.WriteFile(filepath.Join(dir, program), []byte(spy), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			// Nothing else can be run, so nothing is missed.
			for _, s := range []submission{{stdin: "SELECT 1"}, {stdin: "SELECT 1", env: []string{"DLI_PROJECT_ID=ab12"}}} {
				s.shell = []string{"/bin/sh"}
				s.env = append(append(env, "PATH="+dir), s.env...)
				submitted(t, newDLI(t), s)
			}
			lines, err := os.ReadFile(note)
			if err != nil || strings.Count(string(lines), "submit-job") != 2 {
				t.Fatalf("the programs are %v\n%s", err, lines)
			}
			for _, secret := range secrets(user) {
				if strings.Contains(string(lines), secret) {
					t.Errorf("a command line has the credentials:\n%s", lines)
				}
			}
		})
	}
}

func newDLI(t *testing.T) *dlitest.Server {
	t.Helper()
	server, err := dlitest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.SetTemplate(dlitest.Query("").Running(time.Hour))
	return server
}
