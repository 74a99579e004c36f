package childjob

import (
	"testing"

	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// Every pod is restricted, by the judgement of the very code that a namespace is enforced with.
func TestPodsAreRestrictedWhateverTheTemplateHolds(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, template := range map[string]string{
		"none":     "",
		"full":     platform,
		"a user":   "securityContext: {runAsUser: 1, runAsGroup: 1, fsGroup: 1, supplementalGroups: [1]}\n",
		"AppArmor": "annotations: {container.apparmor.security.beta.kubernetes.io/trainer: unconfined}\n",
		"seccomp":  "annotations: {seccomp.security.alpha.kubernetes.io/pod: unconfined}\n",
	} {
		t.Run(name, func(t *testing.T) {
			job := newJob()
			if err := yaml.Unmarshal([]byte("spec:\n  template:\n"+indent(template)), job); err != nil {
				t.Fatal(err)
			}
			for _, defaults := range []Defaults{{Image: "trainer"}, {Image: "trainer", NoUser: true}} {
				child, err := Build(job, 1, defaults)
				if err != nil {
					t.Fatal(err)
				}
				pod := child.Spec.Template
				for _, r := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()},
					&pod.ObjectMeta, &pod.Spec) {
					if !r.Allowed {
						t.Errorf("%s: %s", r.ForbiddenReason, r.ForbiddenDetail)
					}
				}
			}
		})
	}
}

func TestSwitchesOfSecurityAreNoAnnotations(t *testing.T) {
	job := newJob()
	job.Spec.Template = &v1.PodTemplate{Annotations: map[string]v1.AnnotationValue{
		"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined",
		"seccomp.security.alpha.kubernetes.io/pod":               "unconfined", "example.com/note": "hi",
	}}
	got := madeFor(t, job).Spec.Template.Annotations
	if len(got) != 2 || got["example.com/note"] != "hi" || got[AnnotationJob] == "" {
		t.Errorf("annotations %v", got)
	}
}
