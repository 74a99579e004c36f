package integration

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers"
)

// kustomize renders an overlay for the test's namespace and returns its objects.
func (e *env) kustomize(kustomization string) []*unstructured.Unstructured {
	e.t.Helper()
	return e.render(fmt.Sprintf("namespace: %s\n%s", e.ns, kustomization))
}

// render renders an overlay as it stands; CONFIG is our folder.
func (e *env) render(kustomization string) []*unstructured.Unstructured {
	e.t.Helper()
	root, err := filepath.Abs("../../config")
	e.Expect(err).NotTo(HaveOccurred())
	dir := e.t.TempDir()
	relative, err := filepath.Rel(dir, root) // kustomize takes no absolute paths
	e.Expect(err).NotTo(HaveOccurred())
	text := strings.ReplaceAll(kustomization, "CONFIG", relative)
	e.Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644)).To(Succeed())
	kubectl := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	out, err := exec.Command(kubectl, "kustomize", dir).CombinedOutput()
	e.Expect(err).NotTo(HaveOccurred(), string(out))
	var objects []*unstructured.Unstructured
	for doc := range strings.SplitSeq(string(out), "\n---\n") {
		o := &unstructured.Unstructured{}
		e.Expect(yaml.Unmarshal([]byte(doc), &o.Object)).To(Succeed())
		objects = append(objects, o)
	}
	return objects
}

// install applies what the API server of the test knows: all but the monitors of Prometheus.
func (e *env) install(objects []*unstructured.Unstructured) {
	e.t.Helper()
	for _, o := range objects {
		if o.GroupVersionKind().Group == "monitoring.coreos.com" || o.GetKind() == "CustomResourceDefinition" || o.GetKind() == "Namespace" {
			continue
		}
		err := kube.Apply(e.ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership)
		e.Expect(err).NotTo(HaveOccurred(), "%s %s", o.GetKind(), o.GetName())
		e.t.Cleanup(func() { _ = kube.Delete(e.t.Context(), o) })
	}
}

// startAs runs a manager with the rights of the installed ServiceAccount.
func (e *env) startAs(o controllers.Options) {
	e.t.Helper()
	cfg := rest.CopyConfig(config)
	cfg.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + e.ns + ":resnet-operator",
		Groups:   []string{"system:authenticated", "system:serviceaccounts"},
	}
	o.TrainerImage, o.Concurrency, o.SkipNameValidation = "trainer:1", 2, true
	o.LeaderElection, o.LeaderElectionNamespace = true, e.ns
	e.run(cfg, o)
}

// A job goes through its whole life with the rights of a namespaced installation, which are of that namespace alone.
func TestTheRightsOfOneNamespaceAreEnough(t *testing.T) {
	e := newEnv(t)
	objects := e.kustomize("resources: [CONFIG/namespaced]\n")
	for _, o := range objects {
		e.Expect(o.GetNamespace()).To(Equal(e.ns), "%s %s: nothing is cluster-wide", o.GetKind(), o.GetName())
	}
	e.install(objects)
	e.startAs(controllers.Options{Namespace: e.ns, MetricsAddr: "0", ProbeAddr: "0", Registry: prometheus.NewRegistry()})
	e.wholeLife()

	other := newEnv(t)
	other.createJob(jobYAML)
	e.Consistently(func() v1.State { return other.job().Status.State }, time.Second).Should(BeEmpty(), "others are left alone")
}

// The same with the cluster-wide installation, and its metrics, which only those can read who may.
func TestTheRightsOfTheWholeClusterAreEnough(t *testing.T) {
	e := newEnv(t)
	e.install(e.kustomize("resources: [CONFIG/default]\ncomponents: [CONFIG/network-policy, CONFIG/prometheus]\n"))
	e.install(e.kustomize("resources: [CONFIG/network-policy/trainer]\n"))
	addr := freeAddr(t)
	e.startAs(controllers.Options{MetricsAddr: addr, Page: true, ProbeAddr: "0"})
	e.wholeLife()

	e.Expect(read(e, addr, "/metrics", "")).To(HavePrefix("401 "), "nobody reads them without a token")
	e.Expect(read(e, addr, "/metrics", e.token("stranger"))).To(HavePrefix("403 "))
	reader := e.token("reader")
	e.Expect(kube.Create(e.ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: e.ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "resnet-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: e.ns}},
	})).To(Succeed())
	e.Eventually(func() string { return read(e, addr, "/metrics", reader) }).Should(And(
		HavePrefix("200 "),
		ContainSubstring(fmt.Sprintf("resnet_operator_jobs{namespace=%q,state=\"Succeeded\"} 1", e.ns)),
		MatchRegexp(`\nresnet_operator_attempts_total [1-9]`),
		MatchRegexp(`\nresnet_operator_finished_jobs_total{reason="Succeeded",state="Succeeded"} [1-9]`),
	))

	e.Expect(read(e, addr, "/jobs", "")).To(HavePrefix("401 "))
	e.Expect(read(e, addr, "/jobs", reader)).To(HavePrefix("403 "), "who may read metrics may not see the page")
	viewer := e.token("viewer")
	e.Expect(kube.Create(e.ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: e.ns + "-page"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "resnet-operator-page-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "viewer", Namespace: e.ns}},
	})).To(Succeed())
	e.Eventually(func() string { return read(e, addr, "/jobs", viewer) }).Should(And(
		HavePrefix("200 "), ContainSubstring(`<a href="/jobs/`+e.ns+"/")))
}

// wholeLife takes a job through three attempts to its end, so that every right is used: create, delete, patch, events
// to write and to read.
func (e *env) wholeLife() {
	e.t.Helper()
	e.createJob(jobYAML + "  retry: {backoffSeconds: 0}\n")
	e.podStatus(e.createPod(e.child("net-1")), ended(corev1.PodFailed, contract.Termination{ExitCode: 75}))
	second := e.createPod(e.child("net-2"))
	e.podStatus(second, prepared(corev1.ConditionFalse))
	e.mountFails(second, "mount", `secret "ca" not found`, time.Now())
	e.Eventually(func() string { return messageOf(e.job(), v1.ConditionProgressing) }).Should(HaveSuffix(`secret "ca" not found`))
	e.podStatus(second, ended(corev1.PodFailed, contract.Termination{ExitCode: 75}))
	last := e.child("net-3")
	e.Eventually(func() bool { return len(e.children()) == 2 || deleting(e) }).Should(BeTrue(), "the first child is deleted")
	e.podStatus(e.createPod(last), ended(corev1.PodSucceeded, contract.Termination{}))
	e.complete(last)
	e.eventuallyState(v1.StateSucceeded)
	e.Eventually(e.story).Should(ContainSubstring("Succeeded"))
}

func deleting(e *env) bool {
	for _, child := range e.children() {
		if child.DeletionTimestamp != nil {
			return true
		}
	}
	return false
}

// The overlay of docs/platform.md, as it stands there, puts everything that has a namespace into that of the manager.
func TestTheDocumentedOverlayIsWhole(t *testing.T) {
	e := newEnv(t)
	text, err := os.ReadFile("../../docs/platform.md")
	e.Expect(err).NotTo(HaveOccurred())
	_, after, _ := strings.Cut(string(text), "```yaml\nresources:")
	overlay, _, found := strings.Cut("resources:"+after, "```")
	e.Expect(found).To(BeTrue(), "docs/platform.md shows an overlay")
	objects := e.render(strings.ReplaceAll(overlay, "https://…/config", "CONFIG"))
	for _, o := range objects {
		if o.GroupVersionKind().Group != "monitoring.coreos.com" { // the API server of the test does not know those
			namespaced, err := kube.IsObjectNamespaced(o)
			e.Expect(err).NotTo(HaveOccurred())
			if !namespaced {
				continue
			}
		}
		e.Expect(o.GetNamespace()).To(Equal("resnet-operator"), "%s %s", o.GetKind(), o.GetName())
	}
	e.Expect(client.IgnoreAlreadyExists(kube.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "resnet-operator"}}))).To(Succeed())
	e.install(objects)
	onOpenShift, err := yaml.Marshal(e.render("resources: [CONFIG/default]\ncomponents: [CONFIG/openshift]\n"))
	e.Expect(err).NotTo(HaveOccurred())
	e.Expect(string(onOpenShift)).To(ContainSubstring("--platform-assigns-user"))
}

// token of a new ServiceAccount.
func (e *env) token(name string) string {
	e.t.Helper()
	e.Expect(kube.Create(e.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name}})).To(Succeed())
	r, err := kubernetes.NewForConfigOrDie(config).CoreV1().ServiceAccounts(e.ns).
		CreateToken(e.ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	e.Expect(err).NotTo(HaveOccurred())
	return r.Status.Token
}

// read is the status and the text of an answer.
func read(e *env, addr, path, token string) string {
	req, err := http.NewRequestWithContext(e.ctx, http.MethodGet, "https://"+addr+path, nil)
	e.Expect(err).NotTo(HaveOccurred())
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.Status + "\n" + string(body)
}
