package v1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PodTemplate is what a platform adds to the trainer's pod. It is merged into what the operator sets: command, ports,
// probes and the security context of the container stay the operator's, and so do its labels, variables and mounts.
//
// +kubebuilder:validation:XValidation:rule="!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",fieldPath=".volumeMounts",message="each must name one of spec.template.volumes"
type PodTemplate struct {
	// labels of the pod, beside the operator's own. Default: none.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue())",message="each key must be a label key such as team or example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.labelValue().validate(self[k]).hasValue())",message="each value must be at most 63 letters, digits, '-', '_' and '.'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('training.resnet-operator.dev/') && !k.startsWith('batch.kubernetes.io/') && !k.startsWith('kueue.x-k8s.io/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/managed-by', 'controller-uid', 'job-name']))",message="app.kubernetes.io/name, app.kubernetes.io/managed-by, controller-uid, job-name and keys of training.resnet-operator.dev/, batch.kubernetes.io/ and kueue.x-k8s.io/ are set by the operator"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations of the pod. Default: none.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k.lowerAscii()).hasValue())",message="each key must be such as note or example.com/note"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('training.resnet-operator.dev/') && !k.startsWith('batch.kubernetes.io/'))",message="keys of training.resnet-operator.dev/ and batch.kubernetes.io/ are set by the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.split('/')[0].endsWith('security.beta.kubernetes.io') && !k.split('/')[0].endsWith('security.alpha.kubernetes.io'))",message="keys of *.security.beta.kubernetes.io/ and *.security.alpha.kubernetes.io/ are old switches of a pod's security: it stays as the operator sets it"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// nodeSelector: labels that the node must have. Default: none.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +mapType=atomic
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// affinity to nodes and to other pods. Default: none.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// tolerations of the pod. Unless they speak of them, the taints node.kubernetes.io/unreachable and
	// node.kubernetes.io/not-ready are tolerated for one minute, so that a lost node costs little more than that.
	// Default: none beside these.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// topologySpreadConstraints of the pod. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// priorityClassName of the pod. Default: the cluster's default class, if it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system-')",message="system-node-critical and system-cluster-critical are for what nodes and clusters cannot do without: choose another class"
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// runtimeClassName of the pod, such as nvidia. Default: the node's own runtime.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`

	// schedulerName of the pod. Default: the cluster's own.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SchedulerName string `json:"schedulerName,omitempty"`

	// serviceAccountName of the pod, for access to a bucket without a Secret (IRSA, workload identity). Its token for
	// the Kubernetes API is not mounted. Default: the namespace's account default.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// imagePullSecrets for spec.image and image volumes. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// securityContext holds the user and the groups of the pod. The rest is fixed: the pod meets the restricted pod
	// security standard. Default: as for each of its fields.
	// +optional
	SecurityContext *PodSecurityContext `json:"securityContext,omitempty"`

	// volumes of the pod. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=12
	// +listType=map
	// +listMapKey=name
	Volumes []Volume `json:"volumes,omitempty"`

	// volumeMounts of the trainer's container. A file:// URI of spec.dataset or spec.storage must lie in one of them.
	// Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=mountPath
	VolumeMounts []VolumeMount `json:"volumeMounts,omitempty"`

	// env holds variables of the trainer's container. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:XValidation:rule="self.all(e, !e.name.startsWith('RESNET_') && e.name != 'OMP_NUM_THREADS')",message="OMP_NUM_THREADS follows spec.resources.cpu, and RESNET_* is set by the operator"
	// +kubebuilder:validation:XValidation:rule="self.map(e, has(e.value) ? e.value.size() : 0).sum() <= 65536",message="values must have at most 65536 characters together: put large ones into a ConfigMap"
	Env []corev1.EnvVar `json:"env,omitempty"`

	// envFrom takes variables from ConfigMaps and Secrets. env, and what the operator sets, goes before them. Default:
	// none.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// PodSecurityContext holds the user and the groups of a pod. Default of all: 65532, the user of the trainer's image; with
// the manager's flag --platform-assigns-user, what the platform assigns.
type PodSecurityContext struct {
	// runAsUser is the user ID; root is not possible. Default: 65532, the user of the trainer's image; with the
	// manager's flag --platform-assigns-user, what the platform assigns.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	RunAsUser *int64 `json:"runAsUser,omitempty"`

	// runAsGroup is the primary group ID. Default: as for runAsUser.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`

	// fsGroup owns the files of the volumes. Default: as for runAsUser.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	FSGroup *int64 `json:"fsGroup,omitempty"`

	// fsGroupChangePolicy says when the files of volumes get the group fsGroup. Default: Always.
	//   - Always: at each mount.
	//   - OnRootMismatch: at a mount whose root folder lacks it.
	// +optional
	// +kubebuilder:validation:Enum=Always;OnRootMismatch
	FSGroupChangePolicy *corev1.PodFSGroupChangePolicy `json:"fsGroupChangePolicy,omitempty"`

	// supplementalGroups of the user, for shared file systems. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=2147483647
	// +listType=atomic
	SupplementalGroups []int64 `json:"supplementalGroups,omitempty"`
}

// Volume of a pod, of one of the kinds that the restricted pod security standard allows.
//
// +kubebuilder:validation:XValidation:rule="[has(self.persistentVolumeClaim), has(self.ephemeral), has(self.emptyDir), has(self.image), has(self.configMap), has(self.secret), has(self.csi)].filter(x, x).size() == 1",message="must have exactly one of persistentVolumeClaim, ephemeral, emptyDir, image, configMap, secret, csi"
type Volume struct {
	// name by which mounts refer to the volume. Names that begin with resnet- are the operator's.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and '-'"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('resnet-')",message="must not begin with resnet-: these names are the operator's"
	Name string `json:"name"`

	// persistentVolumeClaim is a claim in the job's namespace. Default: none.
	// +optional
	PersistentVolumeClaim *corev1.PersistentVolumeClaimVolumeSource `json:"persistentVolumeClaim,omitempty"`

	// ephemeral is a new volume that lives as long as the pod. Default: none.
	// +optional
	Ephemeral *EphemeralVolume `json:"ephemeral,omitempty"`

	// emptyDir is an empty folder; with medium Memory and mounted at /dev/shm, shared memory. Default: none.
	// +optional
	EmptyDir *corev1.EmptyDirVolumeSource `json:"emptyDir,omitempty"`

	// image is an OCI image or artifact, read-only: a data set in a registry. Default: none.
	// +optional
	Image *corev1.ImageVolumeSource `json:"image,omitempty"`

	// configMap in the job's namespace. Default: none.
	// +optional
	ConfigMap *corev1.ConfigMapVolumeSource `json:"configMap,omitempty"`

	// secret in the job's namespace. Default: none.
	// +optional
	Secret *corev1.SecretVolumeSource `json:"secret,omitempty"`

	// csi is an inline volume of a CSI driver, such as that of a secrets store. Default: none.
	// +optional
	CSI *corev1.CSIVolumeSource `json:"csi,omitempty"`
}

// EphemeralVolume is a new volume that lives as long as the pod.
type EphemeralVolume struct {
	// storageClassName of the volume. Default: the cluster's default class.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	StorageClassName *string `json:"storageClassName,omitempty"`

	// size of the volume, such as 100Gi.
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="must be more than 0"
	Size resource.Quantity `json:"size"`
}

// VolumeMount puts a volume into the file system of the trainer's container.
type VolumeMount struct {
	// name of the volume, one of spec.template.volumes.
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// mountPath is an absolute folder, such as /data or /dev/shm.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^(/[^/:]+)+$') && !('/'+self+'/').contains('/../') && !('/'+self+'/').contains('/./')",message="must be an absolute path such as /data, without . and .. and without a slash at the end"
	// +kubebuilder:validation:XValidation:rule="!(self in ['/etc', '/dev', '/usr', '/lib', '/lib64', '/bin', '/sbin', '/proc', '/sys']) && !['/etc/resnet-operator', '/scratch', '/dev/termination-log', '/usr', '/lib', '/lib64', '/bin', '/sbin', '/proc', '/sys'].exists(p, self == p || self.startsWith(p + '/'))",message="must not hide /etc/resnet-operator, /scratch, /dev/termination-log or a folder of the system: choose another folder, such as /data"
	MountPath string `json:"mountPath"`

	// subPath of the volume. Default: its root.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !('/'+self+'/').contains('/../')",message="must be a relative path without .."
	SubPath string `json:"subPath,omitempty"`

	// readOnly mounts the volume read-only. Default: false.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
}

// ResourceClaim asks for devices by dynamic resource allocation.
//
// +kubebuilder:validation:XValidation:rule="has(self.resourceClaimName) != has(self.resourceClaimTemplateName)",message="must have exactly one of resourceClaimName and resourceClaimTemplateName"
type ResourceClaim struct {
	// name of the claim within the pod.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and '-'"
	Name string `json:"name"`

	// resourceClaimName is a ResourceClaim in the job's namespace. Default: none; exactly one of this and
	// resourceClaimTemplateName is set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ResourceClaimName *string `json:"resourceClaimName,omitempty"`

	// resourceClaimTemplateName is a ResourceClaimTemplate in the job's namespace: each attempt gets a claim of its
	// own. Default: none; exactly one of this and resourceClaimName is set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ResourceClaimTemplateName *string `json:"resourceClaimTemplateName,omitempty"`

	// request of the claim that the trainer uses. Default: all of them.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Request string `json:"request,omitempty"`
}
