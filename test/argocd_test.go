// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	argoConfigMap  = "../config/argocd/argocd-cm.yaml"
	customizations = "../config/argocd/resource_customizations/dli.huaweicloud.com"
)

// health is the result of a script.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// healthTests has the format of health_test.yaml in the Argo CD repository.
type healthTests struct {
	Tests []healthTest `json:"tests"`
}

type healthTest struct {
	HealthStatus health `json:"healthStatus"`
	InputPath    string `json:"inputPath"`
}

func TestArgoCDJobHealth(t *testing.T) {
	everyState.reach(t)
	script := scriptOf(t, "DLIJob")
	var tests healthTests
	for _, state := range states() {
		t.Run(state.name, func(t *testing.T) {
			object := fetch(t, "DLIJob", state.name)
			got := judge(t, script, object)
			if got.Status != state.argoCD || got.Message == "" {
				t.Errorf("health is %+v, want %s and a message", got, state.argoCD)
			}
			tests.Tests = append(tests.Tests, testdata(t, object, got))
		})
	}
	golden(t, customizations+"/DLIJob/health_test.yaml", asYAML(t, tests))
}

// The API server increments the generation when an object is deleted. Argo CD keeps a
// hook until it knows the outcome.
func TestArgoCDHealthOfADeletedHook(t *testing.T) {
	script := scriptOf(t, "DLIJob")
	for name, want := range map[string]string{"finished": healthy, "failed": degraded, "running": progressing} {
		object := fetch(t, "DLIJob", name)
		object.SetDeletionTimestamp(&metav1.Time{Time: time.Now()})
		object.SetGeneration(object.GetGeneration() + 1)
		if got := judge(t, script, object); got.Status != want {
			t.Errorf("deleted DLIJob %s is %s, want %s", name, got.Status, want)
		}
	}
}

func TestArgoCDConnectionHealth(t *testing.T) {
	everyState.reach(t)
	script := scriptOf(t, "DLIConnection")
	var tests healthTests
	for _, test := range []struct{ name, want string }{
		{"unseen", progressing},
		{"default", healthy},
		{"unused", healthy},
		{"unreachable", progressing},
		{"throttled", progressing},
		{"no-secret", progressing},
		{"empty-secret", degraded},
		{"unknown-key", degraded},
		{"no-region", degraded},
	} {
		t.Run(test.name, func(t *testing.T) {
			object := fetch(t, "DLIConnection", test.name)
			got := judge(t, script, object)
			if got.Status != test.want || got.Message == "" {
				t.Errorf("health is %+v, want %s and a message", got, test.want)
			}
			tests.Tests = append(tests.Tests, testdata(t, object, got))
		})
	}
	golden(t, customizations+"/DLIConnection/health_test.yaml", asYAML(t, tests))
}

// testdata returns a test case for an object. It compares the file with the object on
// the API server first, except for fields that differ between runs.
func testdata(t *testing.T, object *unstructured.Unstructured, judged health) healthTest {
	t.Helper()
	path := "testdata/" + strings.ToLower(judged.Status) + "_" + object.GetName() + ".yaml"
	object.SetManagedFields(nil)
	object.SetLabels(nil)
	object.SetResourceVersion("1234")
	object.SetUID("01234567-89ab-cdef-0123-456789abcdef")
	// Before it becomes YAML, which wraps lines depending on their length.
	text, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := object.UnmarshalJSON([]byte(steady(string(text)))); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join(customizations, object.GetKind(), path), asYAML(t, object.Object))
	judged.Message = steady(judged.Message)
	return healthTest{HealthStatus: judged, InputPath: path}
}

// Argo CD's own tests run scripts with all Lua libraries, but scripts in argocd-cm run
// with only a few: the files must pass with both.
func TestArgoCDResourceCustomizations(t *testing.T) {
	for _, kind := range []string{"DLIJob", "DLIConnection"} {
		folder := filepath.Join(customizations, kind)
		var tests healthTests
		readYAML(t, filepath.Join(folder, "health_test.yaml"), &tests)
		var used []string
		for _, test := range tests.Tests {
			used = append(used, test.InputPath)
			t.Run(kind+"/"+test.InputPath, func(t *testing.T) {
				object := &unstructured.Unstructured{}
				readYAML(t, filepath.Join(folder, test.InputPath), &object.Object)
				for _, all := range []bool{true, false} {
					got, err := run(scriptOf(t, kind), object, all)
					if err != nil || got != test.HealthStatus {
						t.Errorf("health is %+v and error %v, want %+v (all libraries: %v)", got, err, test.HealthStatus, all)
					}
				}
			})
		}
		files, err := filepath.Glob(filepath.Join(folder, "testdata", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for i, file := range files {
			files[i] = "testdata/" + filepath.Base(file)
		}
		slices.Sort(used)
		if diff := cmp.Diff(files, used); diff != "" {
			t.Errorf("%s: files (-) and test cases (+) differ:\n%s", kind, diff)
		}
	}
}

// Users patch their argocd-cm with this file: it must add the scripts verbatim and
// change nothing else.
func TestArgoCDConfigMap(t *testing.T) {
	const namespace = "argocd"
	for _, object := range []client.Object{
		namespaceNamed(namespace),
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "argocd-cm", Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}},
			Data:       map[string]string{"url": "https://argocd.example.com"},
		},
	} {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	kubectl(t, namespace, "patch", "configmap", "argocd-cm", "--patch-file="+argoConfigMap)
	patched := &corev1.ConfigMap{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "argocd-cm"}, patched); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"url": "https://argocd.example.com",
		"resource.customizations.health.dli.huaweicloud.com_DLIJob":        scriptOf(t, "DLIJob"),
		"resource.customizations.health.dli.huaweicloud.com_DLIConnection": scriptOf(t, "DLIConnection"),
	}
	if diff := cmp.Diff(want, patched.Data); diff != "" {
		t.Error(diff)
	}
	if patched.Labels["app.kubernetes.io/part-of"] != "argocd" {
		t.Error("the patch removed the label by which Argo CD finds its ConfigMap")
	}
}

// The other tests rely on this: scripts run with no more than Argo CD provides.
func TestScriptsRunAsInArgoCD(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	for script, says := range map[string]string{
		`return { status = string.upper("x") }`: "non-table object(nil)",
		`return { status = ("x"):upper() }`:     "non-table object",
		`return { status = math.floor(1) }`:     "non-table object(nil)",
		`return { status = os.time() }`:         "non-table object(nil)",
		`os.execute("true")`:                    "non-table object(nil)",
		`while true do end`:                     "deadline exceeded",
	} {
		if got, err := run(script, object, false); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: returns %v and error %v, want one that says %q", script, got, err, says)
		}
	}
	if _, err := run(`local os = require("os"); os.time(); return { status = "Healthy" }`, object, false); err != nil {
		t.Errorf("the safe os library is missing: %v", err)
	}
}

func scriptOf(t *testing.T, kind string) string {
	t.Helper()
	return testenv.Read(t, filepath.Join(customizations, kind, "health.lua"))
}

func judge(t *testing.T, script string, object *unstructured.Unstructured) health {
	t.Helper()
	got, err := run(script, object, false)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// run runs a script like Argo CD does: in gopher-lua, for at most a second, either with
// all libraries or, like a script in argocd-cm, with only base, package and table, and
// with an os module that only has the time.
func run(script string, object *unstructured.Unstructured, allLibraries bool) (health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: !allLibraries})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		if allLibraries {
			break
		}
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return health{}, err
		}
	}
	state.PreloadModule(lua.OsLibName, func(l *lua.LState) int {
		l.Push(l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"time": luaTime, "date": luaTime}))
		return 1
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luaValue(state, object.Object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the script returns a %s, not a table", state.Get(-1).Type())
	}
	return health{
		Status:  lua.LVAsString(table.RawGetString("status")),
		Message: lua.LVAsString(table.RawGetString("message")),
	}, nil
}

func luaTime(l *lua.LState) int {
	l.Push(lua.LNumber(time.Now().Unix()))
	return 1
}

// luaValue converts a value of an object for scripts. Lua has only one type of number.
func luaValue(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		list := state.NewTable()
		for _, item := range v {
			list.Append(luaValue(state, item))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for key, item := range v {
			table.RawSetString(key, luaValue(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(testenv.Read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func asYAML(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
