package v1

import corev1 "k8s.io/api/core/v1"

// StorageSpec is where results go: <uri>/<namespace>/<name>/<uid>/.
type StorageSpec struct {
	// uri of a bucket and prefix, s3://bucket/prefix, or of a folder, file:///folder.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^(s3://[a-z0-9][a-z0-9.-]+|file:///)')",message="must be s3://bucket/prefix or file:///folder"
	URI string `json:"uri"`

	// s3 is how s3:// URIs of this job, the data set's included, are reached. Default: AWS, with credentials from the
	// environment or the service account (IRSA).
	// +optional
	S3 *S3Spec `json:"s3,omitempty"`
}

// S3Spec is an S3 endpoint and the account on it.
type S3Spec struct {
	// endpoint such as http://minio.minio:9000. Default: AWS.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/]+/?$')",message="must be http://host:port or https://host:port"
	Endpoint string `json:"endpoint,omitempty"`

	// region of the bucket. Default: us-east-1.
	// +optional
	// +kubebuilder:default=us-east-1
	Region string `json:"region,omitempty"`

	// caBundle holds the certificates, in PEM, of the authorities that sign the endpoint's certificate, besides those
	// of the system. Default: none.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="must be certificates in PEM format"
	CABundle string `json:"caBundle,omitempty"`

	// credentialsSecret is a Secret in the job's namespace with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
	// optionally AWS_SESSION_TOKEN. On a laptop the environment variables of these names are used. Default: none;
	// credentials come from the environment or the service account (IRSA).
	// +optional
	CredentialsSecret *corev1.LocalObjectReference `json:"credentialsSecret,omitempty"`
}
