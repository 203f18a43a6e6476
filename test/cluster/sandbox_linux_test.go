// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	// insideEnv is set in the namespaces, to the directory of the images and releases;
	// testEnv is the name of the test there.
	insideEnv = "CLUSTER_IMAGES"
	testEnv   = "CLUSTER_TEST"
	// cgroup is the name of the parent of all cgroups of the test.
	cgroup  = "dli-operator-test-cluster"
	cgroups = "/sys/fs/cgroup"
	// subtreeControl lists the controllers that the root cgroup enables for its children.
	// Only version 2 has it.
	subtreeControl = cgroups + "/cgroup.subtree_control"

	writable = 2 // W_OK of access(2)
)

// sysctls are the kernel settings that a kubelet requires.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// inNamespaces runs a test in private namespaces, where containerd has the images that
// build writes to a directory. It skips the test where that is impossible.
func inNamespaces(t *testing.T, build func(t *testing.T, dir string), inside func(*testing.T)) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	if os.Getenv(insideEnv) != "" {
		if os.Getenv(testEnv) == t.Name() {
			inside(t)
		}
		return
	}
	if testing.Short() {
		t.Skip("it takes minutes, and root")
	}
	if lacks := lacking(t.Context()); lacks != "" {
		t.Skipf("SKIPPED, nothing was tested: %s", lacks)
	}
	unlock := lock(t)
	defer unlock()
	env := prepare(t, build)

	removeCgroups(t) // of a run that was killed
	before := traces(t)
	pids := runInside(t, env)
	removeCgroups(t)
	for _, controller := range enabled() {
		if !slices.Contains(before["controllers"], controller) {
			write(t, subtreeControl, "-"+controller)
		}
	}
	if diff := cmp.Diff(before, traces(t)); diff != "" {
		t.Errorf("the machine has changed (-before +after):\n%s", diff)
	}
	if left := processes(t, pids); len(left) > 0 {
		t.Errorf("processes are still running: %q", left)
	}
}

// lacking returns what this machine lacks to run nodes; empty if nothing.
func lacking(ctx context.Context) string {
	if os.Geteuid() != 0 {
		return "only root may run nodes"
	}
	for _, program := range []string{"ip", "mount", "nsenter", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			return "there is no " + program + "; it comes with iproute2 or util-linux"
		}
	}
	unshare := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--mount-proc", "true")
	if out, err := unshare.CombinedOutput(); err != nil {
		return fmt.Sprintf("no namespaces can be made: %v\n%s", err, out)
	}
	for _, dir := range hierarchies() {
		if err := syscall.Access(dir, writable); err != nil {
			return fmt.Sprintf("no cgroups can be made in %s: %v", dir, err)
		}
	}
	// Only the kernel's own root cgroup, which has no type, may have both processes and
	// controllers for its children.
	_, err := os.Stat(cgroups + "/cgroup.type")
	if processes, _ := os.ReadFile(cgroups + "/cgroup.procs"); err == nil && len(processes) > 0 {
		return "cgroups get no controllers: the root cgroup of this container has processes"
	}
	if out, err := exec.CommandContext(ctx, "../../hack/build.sh", "containerd").CombinedOutput(); err != nil {
		return fmt.Sprintf("no containerd and runc: %v\n%s", err, out)
	}
	return ""
}

// lock makes sure that only one run at a time uses the cgroups.
func lock(t *testing.T) (unlock func()) {
	t.Helper()
	dir, err := os.Open(cgroups)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatalf("another run uses %s: %v", cgroups, err)
	}
	return func() { dir.Close() }
}

// prepare gets the programs and builds the images before entering the namespaces, which
// have no internet. It returns the environment for the test inside.
func prepare(t *testing.T, build func(t *testing.T, dir string)) []string {
	t.Helper()
	var path []string
	for _, what := range []string{"controlplane", "node", "helm", "containerd"} {
		path = append(path, testenv.Assets(t, what))
	}
	images := t.TempDir()
	buildImage(t, images, "pause:v1", "-root=../../test/cluster/pause")
	buildImage(t, images, "dli-operator:v0.1.0")
	build(t, images)
	return append(os.Environ(), insideEnv+"="+images, testEnv+"="+t.Name(), "CNI_PATH="+path[1],
		"PATH="+strings.Join(append(path, os.Getenv("PATH")), ":"))
}

// buildImage builds an image with hack/image, and writes it to a directory.
func buildImage(t *testing.T, dir, image string, flags ...string) {
	t.Helper()
	_, version, _ := strings.Cut(image, ":")
	archive := strings.NewReplacer(":", "-", "/", "-").Replace(image) + ".tar"
	run(t, "go", append([]string{"-C", "../../hack/image", "run", ".", "-image=" + image, "-version=" + version,
		"-platforms=linux/" + runtime.GOARCH, "-output=" + filepath.Join(dir, archive)}, flags...)...)
}

// runInside runs this test again, as the first process in new namespaces: when it ends,
// the kernel kills all others there. It returns the name of their PID namespace.
func runInside(t *testing.T, env []string) string {
	t.Helper()
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		// Time to clean up.
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-30*time.Second))
		defer cancel()
	}
	test := exec.CommandContext(ctx, os.Args[0], os.Args[1:]...)
	test.Env, test.Stdout, test.Stderr = env, os.Stdout, os.Stderr
	test.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	// The signal is sent when the thread that started the process ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := test.Start(); err != nil {
		t.Fatal(err)
	}
	pids, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", test.Process.Pid))
	if err != nil {
		t.Error(err)
	}
	if err := test.Wait(); err != nil {
		t.Errorf("inside: %v", err)
	}
	if ctx.Err() != nil {
		t.Errorf("interrupted: %v", context.Cause(ctx))
	}
	return pids
}

// hierarchies returns the root directories of cgroups: one with version 2, one for each
// controller with version 1.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		return []string{cgroups}
	}
	dirs, _ := filepath.Glob(cgroups + "/*/cgroup.procs")
	for i := range dirs {
		dirs[i] = filepath.Dir(dirs[i])
	}
	return dirs
}

// enabled returns the controllers in subtreeControl.
func enabled() []string {
	controllers, _ := os.ReadFile(subtreeControl)
	return strings.Fields(string(controllers))
}

// removeCgroups removes the cgroups of all pods. It fails if one still has processes.
func removeCgroups(t *testing.T) {
	t.Helper()
	for _, hierarchy := range hierarchies() {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(hierarchy, cgroup), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			var err error
			if !testenv.Within(10*time.Second, func() bool { err = os.Remove(dir); return err == nil }) {
				t.Error(err)
			}
		}
	}
}

// traces returns everything that a cluster could leave behind or change.
func traces(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{"controllers": enabled()}
	for path := range sysctls {
		found[path] = []string{testenv.Read(t, "/proc/sys/"+path)}
	}
	for line := range strings.Lines(testenv.Read(t, "/proc/self/mountinfo")) {
		found["mounts"] = append(found["mounts"], line)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		found["interfaces"] = append(found["interfaces"], i.Name)
	}
	for _, dir := range hierarchies() {
		if _, err := os.Stat(filepath.Join(dir, cgroup)); err == nil {
			found["cgroups"] = append(found["cgroups"], dir)
		}
	}
	for _, path := range []string{
		"/etc/cni", "/opt/cni", "/opt/containerd", "/run/cluster", "/run/containerd", "/run/netns", "/usr/libexec/kubernetes",
		"/var/lib/cni", "/var/lib/containerd", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
	} {
		if _, err := os.Stat(path); err == nil {
			found["files"] = append(found["files"], path)
		}
	}
	return found
}

// processes returns the commands of the processes in a PID namespace.
func processes(t *testing.T, namespace string) (commands []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil || len(links) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, link := range links {
		if found, err := os.Readlink(link); err == nil && found == namespace {
			command, _ := os.ReadFile(filepath.Join(link, "../../cmdline"))
			commands = append(commands, string(command))
		}
	}
	return commands
}

// run returns the output of a program; the test ends if it fails.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := try(t, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try returns the output of a program. The error includes its standard error. Unlike
// testenv.Exec, it also works in cleanups, where the context of the test has ended.
func try(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.Command(program, args...)
	var out, stderr bytes.Buffer
	command.Stdout, command.Stderr = &out, &stderr
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	return out.String(), nil
}
