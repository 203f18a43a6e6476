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

package test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
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

// submitted runs the script against a server, and checks that the output does not
// contain the token.
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
	if strings.Contains(s.stdout+s.stderr, dlitest.SampleUser().Token) {
		t.Errorf("the output contains the token:\n%s%s", s.stdout, s.stderr)
	}
	return s
}

func (s submission) command(t *testing.T, server *dlitest.Server) *exec.Cmd {
	t.Helper()
	script, err := filepath.Abs(examples + "submit-to-dli.sh")
	if err != nil {
		t.Fatal(err)
	}
	args := append(append(s.shell, script), s.args...)
	command := exec.CommandContext(t.Context(), args[0], args[1:]...)
	user := dlitest.SampleUser()
	command.Env = append(os.Environ(), "DLI_ENDPOINT="+server.URL(), "DLI_PROJECT_ID="+user.ProjectID, "DLI_TOKEN="+user.Token)
	command.Env = append(command.Env, s.env...)
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

// The exit code says whether the SQL may be running. It is never submitted twice.
func TestFailedSubmissions(t *testing.T) {
	const sql, notSubmitted, notKnown = "SELECT 1", 1, 2
	token := dlitest.SampleUser().Token
	answer := func(status int, body string) *dlitest.Response { return &dlitest.Response{Status: status, Body: body} }
	for name, c := range map[string]struct {
		submission
		answer *dlitest.Response
		status int
		says   string
	}{
		"an expired token":          {submission{env: []string{"DLI_TOKEN=EXPIRED"}}, nil, notSubmitted, "HTTP 401, APIGW.0301, Incorrect IAM authentication information: decrypt token fail, request 0"},
		"another tenant's project":  {submission{env: []string{"DLI_PROJECT_ID=ab12"}}, nil, notSubmitted, "HTTP 403, DLI.0003, Permission denied"},
		"invalid SQL":               {submission{}, dlitest.DLIError(http.StatusBadRequest, "DLI.0004", "near 'SELCT'\n\x1b[31m"), notSubmitted, "HTTP 400, DLI.0004, near 'SELCT' [31m, request 0"},
		"too many requests":         {submission{}, dlitest.GatewayError(http.StatusTooManyRequests, "APIGW.0308", "throttled", "abc"), notSubmitted, "HTTP 429, APIGW.0308, throttled, request 0"},
		"a failure with status 200": {submission{}, answer(200, `{"is_success":false,"message":"no such queue"}`), notSubmitted, "HTTP 200, no such queue"},
		"a redirect":                {submission{}, answer(302, "<html>"), notSubmitted, "HTTP 302, not a response of DLI"},
		"a response with the token": {submission{}, dlitest.DLIError(http.StatusUnauthorized, "DLI.0015", "cannot parse "+token+"."), notSubmitted, "cannot parse [token]."},
		"a gateway error":           {submission{}, answer(502, "<html>"), notKnown, "HTTP 502, not a response of DLI"},
		"a DLI error":               {submission{}, dlitest.DLIError(http.StatusBadRequest, "DLI.0999", "Server-side errors."), notKnown, "DLI.0999"},
		"a timeout in DLI":          {submission{}, dlitest.DLIError(http.StatusRequestTimeout, "DLI.0019", "Get sync job result timeout"), notKnown, "HTTP 408"},
		"no job ID":                 {submission{}, answer(200, `{"is_success":true,"job_id":null}`), notKnown, "no job_id"},
		"an invalid job ID":         {submission{}, answer(200, `{"is_success":true,"job_id":"a\nspec: {}"}`), notKnown, "no job_id"},
		"not JSON":                  {submission{}, answer(200, "<html>"), notKnown, "no job_id"},
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
	onlyCurl := t.TempDir()
	for _, program := range []string{"sh", "curl"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(onlyCurl, program)); err != nil {
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
		"an unknown option":      {submission{args: []string{"-f"}}, "usage"},
		"two files":              {submission{args: []string{"a", "b"}}, "usage"},
		"-e without SQL":         {submission{args: []string{"-e"}}, "usage"},
		"no endpoint":            {submission{env: []string{"DLI_ENDPOINT="}}, "DLI_ENDPOINT is not set"},
		"no token":               {submission{env: []string{"DLI_TOKEN="}}, "DLI_TOKEN is not set"},
		"a token with a newline": {submission{env: []string{"DLI_TOKEN=abc\r"}}, "white space"},
		"http":                   {submission{env: []string{"DLI_ENDPOINT=http://dli.example.com"}}, "must start with https"},
		"a path as a project":    {submission{env: []string{"DLI_PROJECT_ID=a/../b"}}, "letters and digits"},
		"an unused endpoint":     {submission{stdin: "SELECT 1", env: []string{"DLI_ENDPOINT=http://127.0.0.1:1"}}, "not submitted: no connection"},
		"no jq":                  {submission{shell: []string{filepath.Join(onlyCurl, "sh")}, env: []string{"PATH=" + onlyCurl}}, "jq is not installed"},
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

// Other users of the machine can see the command lines of all processes.
func TestTheTokenIsNotInACommandLine(t *testing.T) {
	server := newDLI(t)
	server.SetCallFault(dlitest.CallSubmit, &dlitest.Response{Hang: true})
	command := submission{stdin: "SELECT 1"}.command(t, server)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return server.Stats().ByCall[dlitest.CallSubmit] == 1 }) {
		t.Error("nothing was submitted")
	}
	list, err := exec.CommandContext(t.Context(), "ps", "-A", "-ww", "-o", "args").Output()
	if err != nil || !strings.Contains(string(list), "submit-job") {
		t.Fatalf("curl is not in the process list: %v", err)
	}
	if strings.Contains(string(list), dlitest.SampleUser().Token) {
		t.Error("the token is in the process list")
	}
	server.Close()
	if err := command.Wait(); command.ProcessState.ExitCode() != 2 {
		t.Errorf("the script ended with %v", err)
	}
}

func newDLI(t *testing.T) *dlitest.Server {
	t.Helper()
	server := testenv.DLI(t)
	server.SetTemplate(dlitest.Query("").Running(time.Hour))
	return server
}
