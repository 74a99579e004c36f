package main

import "strings"

// process is a component and its command line.
type process struct {
	name string
	args []string
}

// foundation is what everything else needs.
func foundation() []process {
	return []process{
		{"containerd", []string{"--config=" + etcFile("containerd.toml")}},
		{"etcd", []string{
			"--data-dir=/var/lib/etcd",
			"--listen-client-urls=http://127.0.0.1:2379",
			"--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
			"--unsafe-no-fsync", // a run of the cluster never outlives its machine
			"--log-level=warn",
		}},
	}
}

func apiServerProcess() process {
	return process{"kube-apiserver", []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0",
		"--secure-port=6443",
		"--advertise-address=" + nodeIP,
		"--service-cluster-ip-range=" + svcSubnet,
		"--allow-privileged",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + etcFile("ca.crt"),
		"--tls-cert-file=" + etcFile("kube-apiserver.crt"),
		"--tls-private-key-file=" + etcFile("kube-apiserver.key"),
		"--kubelet-certificate-authority=" + etcFile("ca.crt"),
		"--kubelet-client-certificate=" + etcFile("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + etcFile("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + etcFile("service-account.pub"),
		"--service-account-signing-key-file=" + etcFile("service-account.key"),
	}}
}

// clients are the components that talk to the API server.
func clients() []process {
	return []process{
		{"kube-controller-manager", []string{
			kubeconfigFlag("kube-controller-manager"),
			"--leader-elect=false",
			"--use-service-account-credentials",
			"--root-ca-file=" + etcFile("ca.crt"),
			"--service-account-private-key-file=" + etcFile("service-account.key"),
			"--cluster-signing-cert-file=" + etcFile("ca.crt"),
			"--cluster-signing-key-file=" + etcFile("ca.key"),
			"--concurrent-job-syncs=20", // by default, many jobs at once crawl
			"--kube-api-qps=500", "--kube-api-burst=1000",
		}},
		{"kube-scheduler", []string{
			kubeconfigFlag("kube-scheduler"),
			"--leader-elect=false",
			"--kube-api-qps=500", "--kube-api-burst=1000",
		}},
		{"kubelet", []string{
			kubeconfigFlag("kubelet"),
			"--config=" + etcFile("kubelet.yaml"),
			"--hostname-override=" + nodeName,
			"--node-ip=" + nodeIP,
			"--cert-dir=/var/lib/kubelet/pki",
		}},
		// The conntrack limits are the host's, and not ours to set: zero leaves them alone.
		{"kube-proxy", []string{
			kubeconfigFlag("kube-proxy"),
			"--hostname-override=" + nodeName,
			"--proxy-mode=nftables",
			"--cluster-cidr=" + podSubnet,
			"--conntrack-max-per-core=0",
			"--conntrack-tcp-timeout-established=0",
			"--conntrack-tcp-timeout-close-wait=0",
		}},
		{"coredns", []string{"-conf", etcFile("Corefile")}},
	}
}

func kubeconfigFlag(user string) string { return "--kubeconfig=" + etcFile(user+".kubeconfig") }

func commandLine(name string, args []string) string {
	return strings.Join(append([]string{name}, args...), " ")
}
