package v1

// DatasetFormat names a data set and with it the files, the classes, and the mean and deviation of its pixels.
// +kubebuilder:validation:Enum=FashionMNIST;MNIST;CIFAR10;CIFAR100;ImageFolder;Synthetic
type DatasetFormat string

const (
	// FashionMNIST is {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz; 28×28 grey, padded to 32×32.
	FashionMNIST DatasetFormat = "FashionMNIST"
	// MNIST has the same files as FashionMNIST.
	MNIST DatasetFormat = "MNIST"
	// CIFAR10 is the binary or the Python version, loose or as the tar.gz of its authors, or Hugging Face's parquet files.
	CIFAR10 DatasetFormat = "CIFAR10"
	// CIFAR100 comes like CIFAR10; its labels are the 100 fine ones.
	CIFAR100 DatasetFormat = "CIFAR100"
	// ImageFolder is train/<class>/<name> and test/<class>/<name> of images (PNG, JPEG, WebP, BMP, TIFF, PPM, PGM or GIF),
	// loose or in an archive: tar, plain or packed by gzip, xz, zstd or bzip2, or zip.
	// Classes are numbered by name, as in torchvision.datasets.ImageFolder.
	ImageFolder DatasetFormat = "ImageFolder"
	// Synthetic is made from the seed: ten classes of 32×32 colour patterns that a network can learn. It needs no files.
	Synthetic DatasetFormat = "Synthetic"
)

// DatasetSpec is where the images come from.
//
// +kubebuilder:validation:XValidation:rule="self.format == 'Synthetic' || has(self.uri)",fieldPath=".uri",reason="FieldValueRequired",message="is required: the s3://, https:// or file:// folder or archive that holds the files of this format"
// +kubebuilder:validation:XValidation:rule="has(self.mean) == has(self.std)",fieldPath=".std",message="must be given together with mean, or neither"
// +kubebuilder:validation:XValidation:rule="!has(self.mean) || !has(self.std) || self.mean.size() == self.std.size()",fieldPath=".std",message="must have as many numbers as mean: one per channel"
// +kubebuilder:validation:XValidation:rule="!has(self.imageSize) || self.format == 'ImageFolder'",fieldPath=".imageSize",message="is for format: ImageFolder only"
type DatasetSpec struct {
	// Format of the data set.
	Format DatasetFormat `json:"format"`

	// URI of the folder that holds the files, or of an archive: s3://bucket/prefix, https://host/path or file:///folder.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^(s3://[a-z0-9][a-z0-9.-]+|https?://[^/]+/|file:///)')",message="must be s3://bucket/prefix, https://host/path or file:///folder"
	URI string `json:"uri,omitempty"`

	// SHA256 of files by their name, in hexadecimal. A file that differs is refused. Files that are not listed are
	// checked against the sums that their authors published, where they did.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(name, self[name].matches('^[0-9a-f]{64}$'))",message="must be 64 lower-case hexadecimal digits for each file"
	SHA256 map[string]Checksum `json:"sha256,omitempty"`

	// Mean of the pixels per channel, in [0, 1]. Default: the one known for the format; ImageFolder: ImageNet's.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Minimum=0
	// +kubebuilder:validation:items:Maximum=1
	// +listType=atomic
	Mean []float64 `json:"mean,omitempty"`

	// Std is the standard deviation of the pixels per channel, in (0, 1]. Default: as for Mean.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:XValidation:rule="self >= 0.000001",message="must be at least 0.000001"
	// +kubebuilder:validation:items:Maximum=1
	// +listType=atomic
	Std []float64 `json:"std,omitempty"`

	// ImageSize resizes the images of an ImageFolder: the shorter side to so many pixels, then the centre of
	// imageSize×imageSize is cut out (torchvision's Resize and CenterCrop). Default: images stay as they are, and must
	// all have the same size.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=1024
	ImageSize *int32 `json:"imageSize,omitempty"`

	// ValidationFraction of the training images is held out, drawn evenly from all classes by the seed. The best
	// checkpoint and early stopping look at these images, never at the test set. 0: none; the best checkpoint is then
	// chosen by the test accuracy, as most published recipes do. An ImageFolder with val/ beside test/ has validation
	// images of its own; to set this as well is an error.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self <= 0.5",message="must be at most 0.5"
	ValidationFraction float64 `json:"validationFraction,omitempty"`

	// MaxTrainImages uses only the first so many training images, those for validation included (Synthetic: makes so
	// many; default 10,000).
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxTrainImages *int32 `json:"maxTrainImages,omitempty"`

	// MaxTestImages uses only the first so many test images (Synthetic: makes so many; default 2,000).
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxTestImages *int32 `json:"maxTestImages,omitempty"`
}

// Checksum is a SHA-256 in hexadecimal.
// +kubebuilder:validation:MaxLength=64
type Checksum string
