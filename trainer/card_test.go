package trainer

import (
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// The card of a model goes to many people; a renewed signature is the same data set.
func TestCardHasNoSignature(t *testing.T) {
	job := &v1.ResNetTrainingJob{}
	job.Spec.Dataset.URI = "https://me:SECRET@host/x.tar?X-Amz-Signature=SECRET"
	card, err := json.Marshal(cardOf(job, nil))
	if err != nil || strings.Contains(string(card), "SECRET") || !strings.Contains(string(card), "https://host/x.tar") {
		t.Errorf("%s, %v", card, err)
	}
	if job.Spec.Dataset.URI = "https://host/x.tar?X-Amz-Signature=another"; !sameJSON(cardOf(job, nil).Dataset, publicDataset(job.Spec.Dataset)) {
		t.Error("another signature is another data set")
	}
}
