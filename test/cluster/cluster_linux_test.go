// Copyright 2026 The DLI operator authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dli-operator/dli-operator/api/v1alpha1"
	"github.com/dli-operator/dli-operator/test/testenv"
)

const (
	// work is in memory, and visible only in the namespaces.
	work = "/run/cluster"
	// The address of the first node, which the control plane and DLI use.
	address = "10.250.0.1"
	// The address of the Service kubernetes.
	service = "10.96.0.1"
)

// cluster has two nodes, their control plane, and a simulated DLI.
type cluster struct {
	client.Client
	dli *dliServer
	// drained is true while only one node takes pods.
	drained bool
}

// start starts the cluster in the namespaces of this process, and returns when the nodes
// are ready.
func start(t *testing.T) *cluster {
	t.Helper()
	isolate(t)
	connectNodes(t)
	t.Cleanup(func() { printLogs(t) })
	startControlPlane(t)
	for n := 1; n <= 2; n++ {
		startNode(t, n)
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	scheme := clientgoscheme.Scheme
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &cluster{dli: startDLI(t)}
	// The CRDs are installed later; the client discovers them when it needs them.
	if c.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	within(t, 2*time.Minute, "both nodes are registered", func() bool {
		names, err := try(t, "kubectl", "get", "nodes", "--output=name")
		return err == nil && strings.Count(names, "\n") == 2
	})
	run(t, "kubectl", "wait", "node", "--all", "--for=condition=Ready", "--timeout=2m")
	return c
}

// isolate makes mounts, and files below /run and /var, private to the namespaces, and
// hides the kernel settings that a kubelet would change.
func isolate(t *testing.T) {
	t.Helper()
	mount(t, "none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	mount(t, "proc", "/proc", "proc", 0, "")
	mount(t, "tmpfs", "/run", "tmpfs", 0, "mode=755")
	upper, scratch := mkdir(t, work+"/var/upper"), mkdir(t, work+"/var/scratch")
	mount(t, "overlay", "/var", "overlay", 0, "lowerdir=/var,upperdir="+upper+",workdir="+scratch)
	for path, value := range sysctls {
		instead := filepath.Join(mkdir(t, work+"/sysctl"), filepath.Base(path))
		write(t, instead, value+"\n")
		mount(t, instead, "/proc/sys/"+path, "", syscall.MS_BIND, "")
	}
	for _, hierarchy := range hierarchies() {
		pods := filepath.Join(hierarchy, cgroup)
		for n := 1; n <= 2; n++ {
			mkdir(t, fmt.Sprintf("%s/node-%d", pods, n))
		}
		if hierarchy == cgroups {
			enable(t, hierarchy)
			enable(t, pods)
		}
	}
	if err := syscall.Sethostname([]byte("cluster")); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"HOME": mkdir(t, work+"/home"), "TMPDIR": mkdir(t, work+"/tmp"), "KUBECONFIG": work + "/admin.kubeconfig"} {
		t.Setenv(name, value)
	}
}

// enable enables the controllers of a cgroup for its children. With version 2 the
// kubelet needs that, and systemd enables only those that its own units use.
func enable(t *testing.T, dir string) {
	t.Helper()
	for controller := range strings.FieldsSeq(testenv.Read(t, dir+"/cgroup.controllers")) {
		write(t, dir+"/cgroup.subtree_control", "+"+controller)
	}
}

// connectNodes creates the network namespace of the second node and a veth pair
// between the two. There is no kube-proxy: pods only need the Service kubernetes, and the
// first node has its address.
func connectNodes(t *testing.T) {
	t.Helper()
	for _, command := range []string{
		"link set lo up",
		"address add " + service + "/32 dev lo",
		"netns add node-2",
		"link add node-2 type veth peer name node-1 netns node-2",
		"address add " + address + "/24 dev node-2",
		"link set node-2 up",
		"route add 10.250.2.0/24 via 10.250.0.2",
		"-netns node-2 link set lo up",
		"-netns node-2 address add 10.250.0.2/24 dev node-1",
		"-netns node-2 link set node-1 up",
		"-netns node-2 route add default via " + address,
	} {
		run(t, "ip", strings.Fields(command)...)
	}
}

// startControlPlane starts etcd, the API server, which authenticates its clients by
// tokens, and once that is ready the controllers and the scheduler.
func startControlPlane(t *testing.T) {
	t.Helper()
	certificate, key, err := certutil.GenerateSelfSignedCertKey(address, []net.IP{net.ParseIP(service)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, work+"/server.crt", string(certificate))
	write(t, work+"/server.key", string(key))
	write(t, work+"/tokens.csv", `admin,admin,admin,system:masters
node-1,system:node:node-1,node-1,system:nodes
node-2,system:node:node-2,node-2,system:nodes
`)
	for _, user := range []string{"admin", "node-1", "node-2"} {
		write(t, work+"/"+user+".kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: %s}}],
clusters: [{name: c, cluster: {server: "https://%s", certificate-authority: %s/server.crt}}]}`, user, address, work))
	}
	spawn(t, "etcd", "etcd", "--data-dir="+work+"/etcd", "--unsafe-no-fsync",
		"--listen-peer-urls=http://127.0.0.1:2380")
	spawn(t, "kube-apiserver", "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--secure-port=443", "--advertise-address="+address, "--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file="+work+"/server.crt", "--tls-private-key-file="+work+"/server.key",
		"--token-auth-file="+work+"/tokens.csv", "--authorization-mode=Node,RBAC",
		// There is no kube-proxy for webhooks, and no DNS for kubectl logs.
		"--enable-aggregator-routing=true", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+work+"/server.key", "--service-account-signing-key-file="+work+"/server.key")
	within(t, time.Minute, "the API server is ready", func() bool {
		_, err := try(t, "kubectl", "get", "--raw=/readyz")
		return err == nil
	})
	spawn(t, "kube-controller-manager", "kube-controller-manager", "--kubeconfig="+work+"/admin.kubeconfig",
		"--leader-elect=false", "--secure-port=0", "--flex-volume-plugin-dir="+work+"/plugins",
		"--root-ca-file="+work+"/server.crt", "--service-account-private-key-file="+work+"/server.key")
	spawn(t, "kube-scheduler", "kube-scheduler", "--kubeconfig="+work+"/admin.kubeconfig",
		"--leader-elect=false", "--secure-port=0")
}

// startNode starts containerd, imports the images, and starts the kubelet.
func startNode(t *testing.T, n int) {
	t.Helper()
	name := fmt.Sprintf("node-%d", n)
	dir := mkdir(t, work+"/"+name)
	socket := dir + "/containerd.sock"
	write(t, mkdir(t, dir+"/cni")+"/pods.conflist", fmt.Sprintf(cniConfig, n, dir))
	write(t, dir+"/containerd.toml", fmt.Sprintf(containerdConfig, dir, os.Getenv("CNI_PATH")))
	write(t, dir+"/kubelet.yaml", fmt.Sprintf(kubeletConfig, dir, cgroup, name))

	var enter []string
	if n == 2 {
		enter = []string{"nsenter", "--net=/run/netns/node-2"}
	}
	spawn(t, "containerd-"+name, append(enter, "containerd", "--config="+dir+"/containerd.toml")...)
	ctr := func(args ...string) (string, error) {
		return try(t, "ctr", append([]string{"--address=" + socket, "--namespace=k8s.io"}, args...)...)
	}
	within(t, time.Minute, "containerd of "+name+" is ready", func() bool { _, err := ctr("version"); return err == nil })
	var images []string
	for _, pattern := range []string{"/*.tar", "/releases/download/*/*.tar"} {
		found, err := filepath.Glob(os.Getenv(insideEnv) + pattern)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, found...)
	}
	for _, image := range images {
		if _, err := ctr("images", "import", image); err != nil {
			t.Fatal(err)
		}
	}
	spawn(t, "kubelet-"+name, append(enter, "kubelet", "--config="+dir+"/kubelet.yaml", "--kubeconfig="+dir+".kubeconfig",
		"--hostname-override="+name, fmt.Sprintf("--node-ip=10.250.0.%d", n), "--root-dir="+dir+"/kubelet")...)
}

const cniConfig = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "pods", "isGateway": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.250.%d.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "%s/addresses"}
}]}
`

// Root without CAP_SYS_RESOURCE may not lower oom_score_adj.
const containerdConfig = `version = 2
root = "%[1]s/containerd"
state = "%[1]s/containerd-state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "%[1]s/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:v1"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "%[2]s"
conf_dir = "%[1]s/cni"
`

// The kubelet needs no authentication: only processes of this test can reach it.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%[1]s/containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s/%[3]s
failCgroupV1: false
failSwapOn: false
protectKernelDefaults: true
makeIPTablesUtilChains: false
oomScoreAdj: 0
resolvConf: ""
podLogsDir: %[1]s/logs
volumePluginDir: %[1]s/plugins
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 1Mi}
`

// spawn starts a process that runs until the namespace of the test's processes ends. Its
// log is in NAME.log.
func spawn(t *testing.T, name string, command ...string) {
	t.Helper()
	log, err := os.Create(work + "/" + name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	process := exec.Command(command[0], command[1:]...)
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = process.Wait() }()
}

// printLogs prints the logs and the state of the cluster if the test has failed.
func printLogs(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	logs, _ := filepath.Glob(work + "/*.log")
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		t.Logf("%s ends with:\n%s", filepath.Base(log), text[max(0, len(text)-3000):])
	}
	for _, what := range []string{"nodes", "pods", "events"} {
		out, _ := try(t, "kubectl", "get", what, "--all-namespaces", "--output=wide")
		t.Logf("%s:\n%s", what, out)
	}
}

func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Fatalf("mounting %s on %s: %v", source, target, err)
	}
}

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// within ends the test unless a condition is met in time.
func within(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	if !testenv.Within(limit, is) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}
