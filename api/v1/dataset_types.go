package v1

// DatasetFormat names a data set and with it the files, the classes, and the mean and deviation of its pixels.
// +kubebuilder:validation:Enum=FashionMNIST;MNIST;CIFAR10;Synthetic
type DatasetFormat string

const (
	// FashionMNIST is {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz; 28×28 grey, padded to 32×32.
	FashionMNIST DatasetFormat = "FashionMNIST"
	// MNIST has the same files as FashionMNIST.
	MNIST DatasetFormat = "MNIST"
	// CIFAR10 is the binary version: data_batch_{1..5}.bin and test_batch.bin, loose or in cifar-10-binary.tar.gz.
	CIFAR10 DatasetFormat = "CIFAR10"
	// Synthetic is made from the seed: ten classes of 32×32 colour patterns that a network can learn. It needs no files.
	Synthetic DatasetFormat = "Synthetic"
)

// DatasetSpec is where the images come from.
//
// +kubebuilder:validation:XValidation:rule="self.format == 'Synthetic' || has(self.uri)",fieldPath=".uri",reason="FieldValueRequired",message="is required: the s3:// or file:// folder that holds the files of this format"
type DatasetSpec struct {
	// Format of the data set.
	Format DatasetFormat `json:"format"`

	// URI of the folder that holds the files: s3://bucket/prefix or file:///folder.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^(s3://[a-z0-9][a-z0-9.-]+|file:///)')",message="must be s3://bucket/prefix or file:///folder"
	URI string `json:"uri,omitempty"`

	// MaxTrainImages uses only the first so many training images (Synthetic: makes so many; default 10,000).
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxTrainImages *int32 `json:"maxTrainImages,omitempty"`

	// MaxTestImages uses only the first so many test images (Synthetic: makes so many; default 2,000).
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxTestImages *int32 `json:"maxTestImages,omitempty"`
}
