package integration

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Who denies a Job may do so with any code. The user reads who it was and why, and it is tried again soon.
func TestWhatAPolicyDeniesIsTold(t *testing.T) {
	for _, reason := range []metav1.StatusReason{metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge} {
		t.Run(string(reason), func(t *testing.T) {
			e := newEnv(t)
			lift := e.policy(admissionv1.Create, reason)
			e.startManager()
			e.createJob(jobYAML)
			got := e.eventuallyState(v1.StatePending)
			e.Expect(reasonOf(got, v1.ConditionProgressing)).To(Equal("PodRefused"))
			e.Expect(messageOf(got, v1.ConditionProgressing)).To(And(HavePrefix("create Job net-1: "), ContainSubstring("no Job may be touched here")))
			e.Eventually(e.story).Should(Equal("PodRefused"))
			lift()
			e.SetDefaultEventuallyTimeout(30 * time.Second)
			e.eventuallyState(v1.StateStarting)
		})
	}
}

func TestAWebhookThatIsAwayIsTold(t *testing.T) {
	e := newEnv(t)
	hook := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: e.ns}, Webhooks: []admissionv1.ValidatingWebhook{{
		Name: "away.example.com", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: ptr.To(admissionv1.Fail),
		SideEffects: ptr.To(admissionv1.SideEffectClassNone), NamespaceSelector: e.onlyHere(),
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "nowhere", Name: "hook"}},
		Rules:        []admissionv1.RuleWithOperations{jobs(admissionv1.Create)},
	}}}
	e.Expect(kube.Create(e.ctx, hook)).To(Succeed())
	e.t.Cleanup(func() { _ = kube.Delete(e.t.Context(), hook) })
	e.Eventually(func() error { return kube.Create(e.ctx, e.anyJob(), client.DryRunAll) }).ShouldNot(Succeed(), "the webhook is asked")
	e.startManager()
	e.createJob(jobYAML)
	got := e.eventuallyState(v1.StatePending)
	e.Expect(messageOf(got, v1.ConditionProgressing)).To(And(HavePrefix("create Job net-1: "), ContainSubstring(`failed calling webhook "away.example.com"`)))
}

// A suspension that a policy does not let happen is no end: the pod trains on, and the user reads why.
func TestAJobThatCannotBeStoppedGoesOn(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	e.createJob(jobYAML + "  startDeadlineSeconds: 10\n")
	e.podStatus(e.createPod(e.child("net-1")), ready("127.0.0.1"))
	e.eventuallyState(v1.StateRunning)
	lift := e.policy(admissionv1.Delete, metav1.StatusReasonForbidden)
	e.setSuspend(true)
	e.Eventually(func() string { return reasonOf(e.job(), v1.ConditionProgressing) }).Should(Equal("DeleteRefused"))
	e.Expect(messageOf(e.job(), v1.ConditionProgressing)).To(And(HavePrefix("delete Job net-1: "), ContainSubstring("no Job may be touched here")))
	e.Consistently(func() v1.State { return e.job().Status.State }, 12*time.Second).Should(Equal(v1.StateRunning))
	lift()
	e.SetDefaultEventuallyTimeout(30 * time.Second)
	e.Eventually(func() string { return reasonOf(e.job(), v1.ConditionProgressing) }).Should(Equal("Suspending"))
}

// kubectl replace --force: the garbage collector has the Job of the old job still to delete. Nobody has to act on that.
func TestAJobIsCreatedAgainUnderItsName(t *testing.T) {
	e := newEnv(t)
	e.startManager()
	old := e.createJob(jobYAML)
	child := e.child("net-1")
	e.eventuallyState(v1.StateStarting)
	e.Expect(kube.Delete(e.ctx, old)).To(Succeed())
	e.createJob(jobYAML)
	e.Eventually(func() string { return reasonOf(e.job(), v1.ConditionProgressing) }).Should(Equal("NameInUse"))
	e.Expect(kube.Delete(e.ctx, child, client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed()) // plays the garbage collector
	e.eventuallyState(v1.StateStarting)
	e.Expect(metav1.IsControlledBy(e.child("net-1"), e.job())).To(BeTrue())
	e.Expect(e.story()).NotTo(ContainSubstring("PodRefused"))
}

// policy lets nobody do something with Jobs in the namespace of the test, until lift is called.
func (e *env) policy(operation admissionv1.OperationType, reason metav1.StatusReason) (lift func()) {
	e.t.Helper()
	meta := metav1.ObjectMeta{Name: e.ns}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{NamespaceSelector: e.onlyHere(), ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: jobs(operation)}}},
		Validations:      []admissionv1.Validation{{Expression: "false", Message: "no Job may be touched here", Reason: &reason}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: e.ns, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	probe := e.anyJob()
	e.Expect(kube.Create(e.ctx, probe)).To(Succeed())
	e.Expect(kube.Create(e.ctx, policy)).To(Succeed())
	e.Expect(kube.Create(e.ctx, binding)).To(Succeed())
	lift = func() {
		_ = kube.Delete(e.t.Context(), binding)
		_ = kube.Delete(e.t.Context(), policy)
	}
	e.t.Cleanup(lift)
	e.Eventually(func() error {
		if operation == admissionv1.Delete {
			return kube.Delete(e.ctx, probe, client.DryRunAll)
		}
		again := e.anyJob()
		again.Name = "again"
		return kube.Create(e.ctx, again, client.DryRunAll)
	}).WithTimeout(30*time.Second).ShouldNot(Succeed(), "the policy counts")
	return lift
}

func jobs(operation admissionv1.OperationType) admissionv1.RuleWithOperations {
	return admissionv1.RuleWithOperations{Operations: []admissionv1.OperationType{operation},
		Rule: admissionv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}}}
}

func (e *env) onlyHere() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: e.ns}}
}

// anyJob belongs to nobody.
func (e *env) anyJob() *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "any"}, Spec: batchv1.JobSpec{
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}}}
}
