package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
)

// Addresses. They are fixed, and unusual ones, so that they rarely meet a network of the host; `up` checks.
const (
	nodeName   = "resnet-node"
	nodeIP     = "10.200.0.1"
	hostIP     = "10.200.0.2"
	linkSubnet = "10.200.0.0/30"
	podSubnet  = "10.244.0.0/24"
	svcSubnet  = "10.201.0.0/24"
	apiSvcIP   = "10.201.0.1" // the Service `kubernetes` always gets the first address
	apiServer  = "https://" + nodeIP + ":6443"
)

// Where the node sees things. It has a /run, a /var/lib and a /var/log of its own (mounts.go), so that every component
// keeps its customary paths, nothing of the host's is touched, and socket paths stay short.
const (
	nodeDir    = "/run/cluster" // the cluster's directory
	nodeBin    = nodeDir + "/bin"
	nodeEtc    = nodeDir + "/node/etc"
	criSocket  = "/run/containerd/containerd.sock"
	cgroupRoot = "resnet" // in every hierarchy
	pauseImage = "resnet-operator/pause:dev"
)

//go:embed manifests minio.yaml
var manifests embed.FS

// settings are what the files in manifests/ are rendered with.
type settings struct {
	NodeIP, PodSubnet, CgroupRoot, Etc, Socket, PauseImage, Snapshotter string
}

// configure writes everything that the components read, in the node's etc folder, and the admin's kubeconfig.
func (c *cluster) configure() error {
	etc := c.node("etc")
	ca, err := newAuthority(etc)
	if err != nil {
		return err
	}
	if err := issueAll(ca); err != nil {
		return err
	}
	for _, user := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "coredns"} {
		if err := ca.kubeconfig(filepath.Join(etc, user+".kubeconfig"), user, apiServer); err != nil {
			return err
		}
	}
	if err := ca.kubeconfig(c.kubeconfig(), "admin", apiServer); err != nil {
		return err
	}
	s := settings{
		NodeIP: nodeIP, PodSubnet: podSubnet, CgroupRoot: cgroupRoot, Etc: nodeEtc, Socket: criSocket,
		PauseImage: containerdName(pauseImage), Snapshotter: snapshotter(c.dir),
	}
	for _, name := range []string{"containerd.toml", "kubelet.yaml", "cni/10-pods.conflist", "Corefile"} {
		if err := render(name, filepath.Join(etc, name), s); err != nil {
			return err
		}
	}
	return nil
}

// issueAll makes the certificates. Users and groups are the ones that Kubernetes' built-in roles are bound to.
func issueAll(ca *authority) error {
	svc := "kubernetes.default.svc"
	type request struct {
		name, user string
		groups     []string
		hosts      []string
	}
	for _, r := range []request{
		{"admin", "admin", []string{"system:masters"}, nil},
		{"kube-apiserver", "kube-apiserver", nil,
			[]string{nodeIP, apiSvcIP, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default", svc, svc + ".cluster.local"}},
		{"apiserver-kubelet", "apiserver-kubelet", []string{"system:masters"}, nil},
		{"kubelet", "system:node:" + nodeName, []string{"system:nodes"}, []string{nodeIP, nodeName}},
		{"kube-controller-manager", "system:kube-controller-manager", nil, nil},
		{"kube-scheduler", "system:kube-scheduler", nil, nil},
		{"kube-proxy", "system:kube-proxy", nil, nil},
		{"coredns", "system:coredns", nil, nil},
	} {
		if err := ca.issue(r.name, r.user, r.groups, r.hosts...); err != nil {
			return fmt.Errorf("certificate %s: %w", r.name, err)
		}
	}
	return ca.signingKey("service-account")
}

func render(name, path string, s settings) error {
	text, err := rendered(name, s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func rendered(name string, s settings) ([]byte, error) {
	t, err := template.New(filepath.Base(name)).Option("missingkey=error").ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, s)
	return out.Bytes(), err
}

// containerdName is the full name that the kubelet asks containerd for when a pod says NAME: as Docker does, it
// supplies the registry. With imagePullPolicy IfNotPresent or Never no registry is ever asked.
func containerdName(name string) string {
	if first, _, _ := strings.Cut(name, "/"); strings.ContainsAny(first, ".:") || first == "localhost" {
		return name
	}
	return "docker.io/" + name
}

// snapshotter picks how containerd stacks image layers: overlayfs, save where the directory is itself on an
// overlay (inside a container), which the kernel cannot stack again.
func snapshotter(dir string) string {
	const overlayMagic = 0x794c7630
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type == overlayMagic {
		return "native"
	}
	return "overlayfs"
}

// manifest is the text of an embedded manifest that needs no settings.
func manifest(name string) (string, error) {
	text, err := manifests.ReadFile(name)
	if err != nil {
		text, err = manifests.ReadFile("manifests/" + name)
	}
	return string(text), err
}

// checkDisk refuses to begin what would end in a full disk, with an error that nobody understands.
func checkDisk(dir string, gigabytes uint64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return err
	}
	if free := fs.Bavail * uint64(fs.Bsize) / 1e9; free < gigabytes {
		return fmt.Errorf("%s has %d GB free, and %d are needed: make room or pass another --dir", dir, free, gigabytes)
	}
	return nil
}
