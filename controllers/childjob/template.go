package childjob

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// lostNodeSeconds is how long a pod stays on a node that does not answer. Kubernetes' own default is five minutes; a
// training resumes from its checkpoint, so it may move sooner.
const lostNodeSeconds = 60

// extend merges spec.template into the pod that the operator made. What the operator set stays.
func extend(pod *corev1.PodTemplateSpec, t *v1.PodTemplate) {
	if t == nil {
		t = &v1.PodTemplate{}
	}
	pod.Labels = merge(t.Labels, pod.Labels)
	pod.Annotations = merge(t.Annotations, pod.Annotations)
	maps.DeleteFunc(pod.Annotations, func(key, _ string) bool { return securitySwitch(key) }) // past an older CRD

	spec := &pod.Spec
	spec.NodeSelector = t.NodeSelector
	spec.Affinity = t.Affinity
	spec.Tolerations = tolerations(t.Tolerations)
	spec.TopologySpreadConstraints = t.TopologySpreadConstraints
	spec.PriorityClassName = t.PriorityClassName
	spec.RuntimeClassName = t.RuntimeClassName
	spec.SchedulerName = t.SchedulerName
	spec.ServiceAccountName = t.ServiceAccountName
	spec.ImagePullSecrets = t.ImagePullSecrets
	extendSecurity(spec.SecurityContext, t.SecurityContext)
	for _, v := range t.Volumes {
		spec.Volumes = append(spec.Volumes, volume(v))
	}

	c := &spec.Containers[0]
	for _, m := range t.VolumeMounts {
		c.VolumeMounts = append(c.VolumeMounts,
			corev1.VolumeMount{Name: m.Name, MountPath: m.MountPath, SubPath: m.SubPath, ReadOnly: m.ReadOnly})
	}
	c.Env = append(append([]corev1.EnvVar{}, t.Env...), c.Env...) // of two with one name, the last one counts
	c.EnvFrom = t.EnvFrom
}

// merge adds to the labels or annotations of a user those of the operator.
func merge[V ~string](theirs map[string]V, ours map[string]string) map[string]string {
	all := map[string]string{}
	for k, v := range theirs {
		all[k] = string(v)
	}
	maps.Copy(all, ours)
	return all
}

// securitySwitch is true for an annotation by which AppArmor or seccomp could once be turned off, and still can.
func securitySwitch(annotation string) bool {
	prefix, _, _ := strings.Cut(annotation, "/")
	return strings.HasSuffix(prefix, "security.beta.kubernetes.io") ||
		strings.HasSuffix(prefix, "security.alpha.kubernetes.io")
}

// tolerations adds those for a lost node, unless the user's speak of them.
func tolerations(theirs []corev1.Toleration) []corev1.Toleration {
	all := append([]corev1.Toleration{}, theirs...)
	for _, taint := range []string{corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady} {
		if !tolerates(theirs, taint) {
			all = append(all, corev1.Toleration{
				Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
				TolerationSeconds: ptr.To[int64](lostNodeSeconds),
			})
		}
	}
	return all
}

func tolerates(all []corev1.Toleration, taint string) bool {
	for _, t := range all {
		everything := t.Key == "" && t.Operator == corev1.TolerationOpExists
		if (t.Key == taint || everything) && (t.Effect == "" || t.Effect == corev1.TaintEffectNoExecute) {
			return true
		}
	}
	return false
}

func extendSecurity(s *corev1.PodSecurityContext, t *v1.PodSecurityContext) {
	if t == nil {
		return
	}
	override(&s.RunAsUser, t.RunAsUser)
	override(&s.RunAsGroup, t.RunAsGroup)
	override(&s.FSGroup, t.FSGroup)
	s.FSGroupChangePolicy = t.FSGroupChangePolicy
	s.SupplementalGroups = t.SupplementalGroups
}

func override(ours **int64, theirs *int64) {
	if theirs != nil {
		*ours = theirs
	}
}

func volume(v v1.Volume) corev1.Volume {
	out := corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: v.PersistentVolumeClaim,
		EmptyDir:              v.EmptyDir,
		Image:                 v.Image,
		ConfigMap:             v.ConfigMap,
		Secret:                v.Secret,
		CSI:                   v.CSI,
	}}
	if e := v.Ephemeral; e != nil {
		out.Ephemeral = &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				StorageClassName: e.StorageClassName,
				Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: e.Size}},
			},
		}}
	}
	return out
}
