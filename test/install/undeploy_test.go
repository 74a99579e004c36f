package install

import (
	"fmt"
	"strings"
	"testing"
)

// Nothing that removes the operator loses a job without a word.
func TestJobsAreNotLostWithoutAWord(t *testing.T) {
	removeAll(t)
	must(t, `kubectl apply --server-side -k config/default`)
	createJob(t, "default")

	out, err := shell(t, `make uninstall CLUSTER=other`)
	for _, want := range []string{"with it 1 ResNetTrainingJobs and their pods:\n  default/net\n", "DELETE_JOBS=yes"} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("got %v:\n%s\nwant %s", err, out, want)
		}
	}
	if out := must(t, `make undeploy CLUSTER=other`); !strings.Contains(out, "The CRD and the jobs stay") {
		t.Errorf("undeploy does not say what stays: %s", out)
	}
	uid := jobUID(t, "default")

	must(t, `kubectl apply --server-side -k config/default`)
	createJob(t, "resnet-operator")
	out, err = shell(t, `make undeploy CLUSTER=other`)
	want := "The namespace resnet-operator would be deleted, and with it 1 ResNetTrainingJobs"
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("got %v:\n%s\nwant %s", err, out, want)
	}
	if got := jobUID(t, "default"); got != uid {
		t.Errorf("the job is another one: %s, %s", uid, got)
	}
	for _, namespace := range []string{"default", "resnet-operator"} {
		jobUID(t, namespace)
	}
	must(t, `make uninstall CLUSTER=other DELETE_JOBS=yes`)
	if out := must(t, `kubectl get crd -o name`); out != "" {
		t.Errorf("the CRD is still there: %s", out)
	}
}

// A cluster that does not answer has not no jobs.
func TestUndeployWithoutACluster(t *testing.T) {
	for _, target := range []string{"undeploy", "uninstall"} {
		script := fmt.Sprintf(`make %s CLUSTER=other KUBECONFIG=/dev/null DELETE_JOBS=`, target)
		if out, err := shell(t, script); err == nil || strings.Contains(out, "deleted") {
			t.Errorf("%s: %v\n%s", target, err, out)
		}
	}
}

// The API server takes all that `helm test` creates.
func TestHelmTestIsValid(t *testing.T) {
	removeAll(t)
	must(t, `kubectl apply --server-side -k config/default`)
	must(t, `kubectl wait --for=condition=Established --timeout=20s crd/resnettrainingjobs.training.resnet-operator.dev`)
	out := must(t, `helm template resnet-operator charts/resnet-operator --namespace resnet-operator --kube-version 1.37.0 \
		--show-only templates/tests/trains.yaml | kubectl create --dry-run=server -f -`)
	if n := strings.Count(out, "created (server dry run)"); n != 6 {
		t.Errorf("%d of 6 objects:\n%s", n, out)
	}
}

// Helm takes over what kubectl installed, and leaves the jobs.
func TestHelmTakesOver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	removeAll(t)
	must(t, `kubectl apply --server-side -k config/default`)
	uid := createJob(t, "default")
	install := `helm install resnet-operator charts/resnet-operator -n resnet-operator --set image.tag=v2`
	if out, err := shell(t, install); err == nil || !strings.Contains(out, "cannot be imported into the current release") {
		t.Errorf("without the flags: %v\n%s", err, out)
	}
	must(t, install+` --take-ownership --force-conflicts`)
	must(t, `helm uninstall resnet-operator --namespace resnet-operator`)
	if got := jobUID(t, "default"); got != uid {
		t.Errorf("the job is another one: %s, %s", uid, got)
	}
}
