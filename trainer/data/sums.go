package data

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// published holds the MD5 sums of files as their authors published them: those of the archives at
// www.cs.toronto.edu/~kriz/cifar.html and of the Python batches in them. Those of the IDX files are of the unpacked
// content, since the .gz files differ from mirror to mirror.
var published = map[v1.DatasetFormat]map[string]string{
	v1.CIFAR10: {
		"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
		"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
		"data_batch_1":           "c99cafc152244af753f735de768cd75f",
		"data_batch_2":           "d4bba439e000b95fd0a9bffe97cbabec",
		"data_batch_3":           "54ebc095f3ab1f0389bbae665268c751",
		"data_batch_4":           "634d18415352ddfa80567beed471001a",
		"data_batch_5":           "482c414d41f54cd18b22e5b47cb7c3cb",
		"test_batch":             "40351d587109b95175f43aff81a1287e",
	},
	v1.CIFAR100: {
		"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
		"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
		"train":                   "16019d7e3df5f24257cddd939b257f8d",
		"test":                    "f0ef6b0ae62326f3e7ffdfab6717acfc",
	},
}

var publishedIDX = map[v1.DatasetFormat]map[string]string{
	v1.MNIST: {
		"train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
		"train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
		"t10k-images-idx3-ubyte":  "2646ac647ad5339dbf082846283269ea",
		"t10k-labels-idx1-ubyte":  "27ae3e4e09519cfbb04c329615203637",
	},
	v1.FashionMNIST: {
		"train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
		"train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
		"t10k-images-idx3-ubyte":  "8181f5470baa50b63fa0f6fddb340f0a",
		"t10k-labels-idx1-ubyte":  "15d484375f8d13e6eb1aabb0c3f46965",
	},
}

// checksum takes the sum of what is written to it, and knows what it must be.
type checksum struct {
	hash.Hash
	want string
	// differs is the error, with what the sum must be. What it is would tell the author of a job
	// something of a file that the trainer can read and the author may not.
	differs string
}

// publishedMD5 is a sum as the authors of the data sets published them.
func publishedMD5(want string) *checksum {
	return &checksum{md5.New(), want, "its MD5 is not %s, which its authors published: the file is damaged, or another one; " +
		"if it is meant to be so, list its SHA-256 in spec.dataset.sha256"}
}

// listedSHA256 is a sum of spec.dataset.sha256.
func listedSHA256(want string) *checksum {
	return &checksum{sha256.New(), want, "its SHA-256 is not %s, which spec.dataset.sha256 wants: the file is damaged or another one"}
}

// check compares the sum of a file, which is called name.
func (c *checksum) check(name string) error {
	if err := c.compare(); err != nil {
		return wrap(name, err)
	}
	return nil
}

// compare is check for those who name the file themselves.
func (c *checksum) compare() error {
	if got := hex.EncodeToString(c.Sum(nil)); got != c.want {
		return exit.Errorf(contract.ExitData, c.differs, c.want)
	}
	return nil
}
