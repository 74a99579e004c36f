package v1

// DatasetFormat names a data set and with it the files, the classes, and the mean and deviation of its pixels.
// +kubebuilder:validation:Enum=FashionMNIST;MNIST;CIFAR10;CIFAR100;ImageFolder;Synthetic
type DatasetFormat string

// Values of DatasetSpec.Format, which explains them.
const (
	FashionMNIST DatasetFormat = "FashionMNIST"
	MNIST        DatasetFormat = "MNIST"
	CIFAR10      DatasetFormat = "CIFAR10"
	CIFAR100     DatasetFormat = "CIFAR100"
	ImageFolder  DatasetFormat = "ImageFolder"
	Synthetic    DatasetFormat = "Synthetic"
)

// DatasetSpec is where the images come from.
//
// +kubebuilder:validation:XValidation:rule="self.format == 'Synthetic' || has(self.uri)",fieldPath=".uri",reason="FieldValueRequired",message="is required: the s3://, https:// or file:// folder or archive that holds the files of this format"
// +kubebuilder:validation:XValidation:rule="has(self.mean) == has(self.std)",fieldPath=".std",message="must be given together with mean, or neither"
// +kubebuilder:validation:XValidation:rule="!has(self.mean) || !has(self.std) || self.mean.size() == self.std.size()",fieldPath=".std",message="must have as many numbers as mean: one per channel"
// +kubebuilder:validation:XValidation:rule="!has(self.imageSize) || self.format == 'ImageFolder'",fieldPath=".imageSize",message="is for format: ImageFolder only"
// +kubebuilder:validation:XValidation:rule="!has(self.testFraction) || self.testFraction == 0.0 || self.format == 'ImageFolder'",fieldPath=".testFraction",message="is for format: ImageFolder only"
// +kubebuilder:validation:XValidation:rule="!has(self.exifOrientation) || self.format == 'ImageFolder'",fieldPath=".exifOrientation",message="is for format: ImageFolder only"
// +kubebuilder:validation:XValidation:rule="!has(self.resizeSize) || (has(self.imageSize) && self.resizeSize >= self.imageSize)",fieldPath=".resizeSize",message="must be at least imageSize, which it needs"
type DatasetSpec struct {
	// format of the data set, and with it the files, the classes, and the mean and deviation of the pixels. There is no
	// default.
	//   - FashionMNIST: {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz; 28×28 grey, padded to 32×32.
	//   - MNIST: the same files as FashionMNIST.
	//   - CIFAR10: the binary or the Python version, loose or as the tar.gz of its authors, or Hugging Face's parquet
	//     files.
	//   - CIFAR100: as CIFAR10; the labels are the 100 fine ones.
	//   - ImageFolder: train/<class>/<name> and test/<class>/<name> of images (PNG, JPEG, WebP, BMP, TIFF, PPM, PGM or
	//     GIF), loose or in an archive: tar, plain or packed by gzip, xz, zstd or bzip2, or zip. Classes are numbered by
	//     name, as in torchvision.datasets.ImageFolder. Or lists train.csv and test.csv (or .jsonl) of file and label.
	//   - Synthetic: made from the seed: ten classes of 32×32 colour patterns that a network can learn. It needs no
	//     files.
	Format DatasetFormat `json:"format"`

	// uri of the folder that holds the files, or of an archive: s3://bucket/prefix, https://host/path or
	// file:///folder. Default: none, which only the format Synthetic allows.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^(s3://[a-z0-9][a-z0-9.-]+|https?://[^/]+/|file:///)')",message="must be s3://bucket/prefix, https://host/path or file:///folder"
	URI string `json:"uri,omitempty"`

	// sha256 of files by their name, in hexadecimal. A file that differs is refused. Default: files that are not listed
	// are checked against the sums that their authors published, where they did.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(name, self[name].matches('^[0-9a-f]{64}$'))",message="must be 64 lower-case hexadecimal digits for each file"
	SHA256 map[string]Checksum `json:"sha256,omitempty"`

	// mean of the pixels per channel, in [0, 1]. Default: the one known for the format; ImageFolder: ImageNet's.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Minimum=0
	// +kubebuilder:validation:items:Maximum=1
	// +listType=atomic
	Mean []float64 `json:"mean,omitempty"`

	// std is the standard deviation of the pixels per channel, in (0, 1]. Default: as for mean.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:XValidation:rule="self >= 0.000001",message="must be at least 0.000001"
	// +kubebuilder:validation:items:Maximum=1
	// +listType=atomic
	Std []float64 `json:"std,omitempty"`

	// imageSize brings the images of an ImageFolder to imageSize×imageSize pixels: they are resized, see resizeSize, and
	// the centre is cut out. Default: images stay as they are, and must all have the same size.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=1024
	ImageSize *int32 `json:"imageSize,omitempty"`

	// resizeSize is how many pixels long the shorter side is made before the centre of imageSize×imageSize is cut out
	// (torchvision's Resize(resizeSize) and CenterCrop(imageSize)): of the images for validation and test, and of those
	// for training without spec.training.augmentation.randomResizedCrop. Default: imageSize × 256/224, to the nearest
	// whole number, in front of the stem ImageNet; imageSize in front of the stem CIFAR.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=2048
	ResizeSize *int32 `json:"resizeSize,omitempty"`

	// validationFraction of the training images is held out, drawn evenly from all classes by the seed. The best
	// checkpoint and early stopping look at these images, never at the test set. An ImageFolder with val/ beside test/
	// has validation images of its own; to set this as well is an error. Default: 0, none; the best checkpoint is then
	// chosen by the test accuracy, as most published recipes do.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self <= 0.5",message="must be at most 0.5"
	ValidationFraction float64 `json:"validationFraction,omitempty"`

	// testFraction of the training images is held out for testing, drawn evenly from all classes by the seed, before those
	// for validation are; validationFraction is of what is left. It is for an ImageFolder that has training images only.
	// Default: 0, none.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self <= 0.5",message="must be at most 0.5"
	TestFraction float64 `json:"testFraction,omitempty"`

	// exifOrientation is what is done about the orientation that cameras write into the files of an ImageFolder. Default:
	// Ignore.
	//   - Ignore: images are taken as they are stored, as torchvision's ImageFolder does.
	//   - Apply: images are turned and mirrored as they are to be shown (Pillow's ImageOps.exif_transpose).
	// +optional
	ExifOrientation ExifOrientation `json:"exifOrientation,omitempty"`

	// maxTrainImages uses only the first so many training images, those for validation included; Synthetic makes so
	// many. Default: all; Synthetic: 10000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxTrainImages *int32 `json:"maxTrainImages,omitempty"`

	// maxTestImages uses only the first so many test images; Synthetic makes so many. Default: all; Synthetic: 2000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxTestImages *int32 `json:"maxTestImages,omitempty"`
}

// ExifOrientation is what is done about the orientation in files.
// +kubebuilder:validation:Enum=Ignore;Apply
type ExifOrientation string

// Values of DatasetSpec.ExifOrientation, which explains them.
const (
	ExifIgnore ExifOrientation = "Ignore"
	ExifApply  ExifOrientation = "Apply"
)

// Checksum is a SHA-256 in hexadecimal.
// +kubebuilder:validation:MaxLength=64
type Checksum string
