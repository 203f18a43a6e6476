// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/internal/dli/dlitest"
	"github.com/dli-operator/dli-operator/test/testenv"
)

// Two replicas watch jobs in different states: one is the leader, the other waits for
// the lease. A real Prometheus scrapes the first over http, and the second as the
// ServiceMonitor configures it.
func TestScraped(t *testing.T) {
	c := newCluster(t)
	server := testenv.DLI(t, dlitest.WithStartOnRequest())
	server.SetJob(dlitest.Query("running").Running(time.Hour))
	server.SetJob(dlitest.Query("ending").Running(time.Hour))
	server.SetJob(dlitest.Query("ended").Finishes(4))
	c.Connect("default", server)
	c.MustCreate(testenv.Connection("default", "broken", server.URL(), "missing"))
	for _, name := range []string{"running", "ending", "ended"} {
		c.watch("default", name, v1alpha1.DLIJobSpec{})
	}
	c.watch("default", "unreadable", v1alpha1.DLIJobSpec{ConnectionRef: &v1alpha1.ConnectionReference{Name: "broken"}})

	working := c.operator("--metrics-secure=false")
	eventually(t, "the first operator polls", func() error {
		return contains(working, `leader_election_master_status{name="dli-operator"} 1`)
	})
	waiting := c.operator()
	c.Kubectl("", "create", "serviceaccount", "scraper")
	c.Kubectl("", "create", "serviceaccount", "stranger")
	c.Kubectl("", "create", "clusterrolebinding", "scraper", "--clusterrole=dli-operator-metrics-reader", "--serviceaccount=default:scraper")
	eventually(t, "the binding is in effect", func() error {
		_, err := testenv.TryKubectl(t, c.Admin, "", "auth", "can-i", "get", "/metrics", "--as=system:serviceaccount:default:scraper")
		return err
	})
	scraper := c.token("default", "scraper")

	t.Run("only authorized users can read the metrics", func(t *testing.T) {
		for name, test := range map[string]struct {
			token string
			want  int
		}{
			"nobody": {"", http.StatusUnauthorized},
			// This is how controller-runtime reports a token that the API server
			// rejects.
			"a forged token":                 {scraper[:len(scraper)-4] + "AAAA", http.StatusInternalServerError},
			"an account without permission":  {c.token("default", "stranger"), http.StatusForbidden},
			"the operator itself":            {c.token(namespace, "dli-operator-controller-manager"), http.StatusForbidden},
			"an account with metrics-reader": {scraper, http.StatusOK},
		} {
			t.Run(name, func(t *testing.T) {
				var status int
				var body string
				eventually(t, "there is a response", func() (err error) {
					status, body, err = get("https://"+waiting+"/metrics", test.token)
					return err
				})
				if status != test.want {
					t.Errorf("the status is %d, want %d", status, test.want)
				}
				if shown := strings.Contains(body, `dli_operator_build_info{version="v0.0.0-test"} 1`); shown != (status == http.StatusOK) {
					t.Errorf("response %d has the version: %v", status, shown)
				}
			})
		}
		if status, _, err := get("http://"+waiting+"/metrics", scraper); err == nil && status == http.StatusOK {
			t.Error("the metrics are also served over http")
		}
	})

	t.Run("the types are as documented", func(t *testing.T) {
		eventually(t, "every metric is exposed", func() error {
			_, text, err := get("http://"+working+"/metrics", "")
			if err != nil {
				return err
			}
			for name, metric := range documented(t) {
				if want := fmt.Sprintf("# TYPE %s %s\n", name, metric.kind); !strings.Contains(text, want) {
					return fmt.Errorf("no %q", want)
				}
			}
			return nil
		})
	})

	p := startPrometheus(t, 2, fmt.Sprintf(`
scrape_configs:
- job_name: working
  honor_labels: true
  static_configs: [{targets: [%q]}]
- job_name: waiting
  honor_labels: true
  scheme: https
  authorization: {credentials: %q}
  tls_config: {insecure_skip_verify: true}
  static_configs: [{targets: [%q]}]
`, working, scraper, waiting))
	ended := dlitest.Query("ending").Running(time.Minute).Finishes(4)
	ended.Start = time.Now().Add(-time.Minute)
	server.SetJob(ended)
	t.Run("every panel of the dashboard has data", func(t *testing.T) {
		for title, queries := range dashboard(t) {
			for _, query := range queries {
				t.Run(title, func(t *testing.T) {
					eventually(t, query, func() error { return p.hasData(query) })
				})
			}
		}
	})
	t.Run("DLIJobs are counted once, not per replica", func(t *testing.T) {
		if got := p.value(t, dashboard(t)["DLIJobs"][0]); got != "4" {
			t.Errorf("there are four DLIJobs, but the dashboard shows %s", got)
		}
		if got := p.value(t, dashboard(t)["Jobs that cannot be read"][0]); got != "1" {
			t.Errorf("one DLIJob cannot be read, but the dashboard shows %s", got)
		}
	})
	t.Run("the examples of docs/metrics.md return data", func(t *testing.T) {
		for _, query := range examples(t) {
			if _, err := p.query(query); err != nil {
				t.Errorf("%s: %v", query, err)
			}
		}
	})
	t.Run("the alerts are evaluated, and the expected ones are pending", func(t *testing.T) {
		pending := []string{"DLIConnectionDown"}
		eventually(t, strings.Join(pending, ", "), func() error {
			rules, err := p.rules()
			if err != nil {
				return err
			}
			var is []string
			for _, rule := range rules {
				if rule.Health != "ok" {
					return fmt.Errorf("%s is %s: %s", rule.Name, rule.Health, rule.LastError)
				}
				if rule.State != "inactive" {
					is = append(is, rule.Name)
				}
			}
			if !slices.Equal(is, pending) {
				return fmt.Errorf("the pending alerts are %v", is)
			}
			return nil
		})
	})

	t.Run("the content of DLIJobs creates no series", func(t *testing.T) {
		const hostile = "hostile"
		for i := range 50 {
			name := fmt.Sprintf("%s-%d", hostile, i)
			c.watch("default", name, v1alpha1.DLIJobSpec{ConnectionRef: &v1alpha1.ConnectionReference{Name: name, Namespace: name}})
		}
		eventually(t, "all are counted in one series", func() error {
			return contains(working, `dli_operator_jobs{connection="",phase="Pending",reason="ConnectionNotAllowed",synced="False"} 50`)
		})
		_, text, err := get("http://"+working+"/metrics", "")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, hostile) {
			t.Errorf("the metrics contain their content:\n%s", regexp.MustCompile(".*"+hostile+".*").FindString(text))
		}
		for _, found := range regexp.MustCompile(`connection="(.*?)"`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains([]string{"", "default/default", "default/broken"}, found[1]) {
				t.Errorf("there is a series for connection %q", found[1])
			}
		}
	})
}

func contains(address, line string) error {
	_, text, err := get("http://"+address+"/metrics", "")
	if err == nil && !strings.Contains(text, line+"\n") {
		err = fmt.Errorf("no line %s", line)
	}
	return err
}

// get requests a page with a bearer token, and accepts any certificate.
func get(url, token string) (status int, body string, err error) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate is self-signed
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// dashboard returns the queries of the dashboard by panel title, with values for
// Grafana's variables.
func dashboard(t *testing.T) map[string][]string {
	t.Helper()
	var page struct {
		Panels []struct {
			ID      int    `json:"id"`
			Type    string `json:"type"`
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal([]byte(testenv.Read(t, config+"/prometheus/dashboard.json")), &page); err != nil {
		t.Fatal(err)
	}
	queries := map[string][]string{}
	ids := map[int]bool{}
	for _, panel := range page.Panels {
		if ids[panel.ID] || queries[panel.Title] != nil {
			t.Errorf("two panels have the id %d or the title %s", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			query := strings.NewReplacer("$__rate_interval", "5m", "$connection", ".*").Replace(target.Expr)
			if strings.Contains(query, "$") {
				t.Errorf("%s has an unknown variable: %s", panel.Title, query)
			}
			queries[panel.Title] = append(queries[panel.Title], query)
		}
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%s has no query", panel.Title)
		}
	}
	if len(queries) < 10 {
		t.Fatalf("found only %d panels", len(queries))
	}
	return queries
}

// server is a running Prometheus.
type server struct{ url string }

// startPrometheus starts one with the shipped alerts and some more configuration. It waits
// until as many targets are scraped.
func startPrometheus(t *testing.T, targets int, configuration string) server {
	t.Helper()
	_, alerts := rules(t)
	configuration = fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n", alerts) + configuration
	address := freeAddress(t)
	testenv.Start(t, "", filepath.Join(testenv.Assets(t, "prometheus"), "prometheus"),
		"--config.file="+write(t, "prometheus.yaml", []byte(configuration)), "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+address, "--log.level=warn")
	s := server{"http://" + address}
	eventually(t, "Prometheus is ready, and scrapes everything", func() error {
		got, err := s.query("sum(up)")
		if err == nil && (len(got) != 1 || got[0] != strconv.Itoa(targets)) {
			err = fmt.Errorf("%v are up", got)
		}
		return err
	})
	return s
}

// ask calls Prometheus's API.
func (s server) ask(path string, into any) error {
	_, text, err := get(s.url+path, "")
	if err != nil {
		return err
	}
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// query returns the values of a query's result.
func (s server) query(query string) ([]string, error) {
	var data struct {
		Result []struct {
			Value [2]any `json:"value"`
		} `json:"result"`
	}
	if err := s.ask("/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
		return nil, err
	}
	var values []string
	for _, sample := range data.Result {
		values = append(values, fmt.Sprint(sample.Value[1]))
	}
	return values, nil
}

func (s server) hasData(query string) error {
	values, err := s.query(query)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(values, func(value string) bool { return value != "NaN" }) {
		return fmt.Errorf("the values are %v", values)
	}
	return nil
}

func (s server) value(t *testing.T, query string) string {
	t.Helper()
	values, err := s.query(query)
	if err != nil || len(values) != 1 {
		t.Fatalf("%s: %v, %v", query, values, err)
	}
	return values[0]
}

// loaded is a rule in Prometheus's API.
type loaded struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	Health    string `json:"health"`
	LastError string `json:"lastError"`
}

func (s server) rules() (rules []loaded, err error) {
	var data struct {
		Groups []struct {
			Rules []loaded `json:"rules"`
		} `json:"groups"`
	}
	err = s.ask("/api/v1/rules", &data)
	for _, group := range data.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules, err
}
