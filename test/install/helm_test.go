package install

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// `helm test`, as on a cluster with nodes: this test plays the manager, and the kubelet of the pod that waits, which runs the
// real program with the arguments and the rights of that pod.
func TestHelmTest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const inNamespace = " -n resnet-operator"
	removeAll(t)
	dir := "DIR=" + t.TempDir()
	must(t, `CGO_ENABLED=0 go build -o $DIR/manager ./cmd/manager`, dir)
	must(t, `helm install resnet-operator charts/resnet-operator --create-namespace`+inNamespace)
	for _, test := range []struct{ state, condition, said string }{
		{"Failed", `"type":"Failed","reason":"InvalidData","message":"no images"`,
			"error: job resnet-operator/resnet-operator-test: Failed, InvalidData: no images"},
		{"Succeeded", `"type":"Complete","reason":"Succeeded","message":"the model is saved"`,
			"resnet-operator/resnet-operator-test: Succeeded, Succeeded: the model is saved"},
	} {
		t.Run(test.state, func(t *testing.T) {
			tested := make(chan error, 1)
			var out string
			go func() {
				var err error
				out, err = shell(t, `helm test resnet-operator --timeout 90s`+inNamespace)
				tested <- err
			}()
			// A pod that failed stays until the next test.
			must(t, `until kubectl get pod resnet-operator-test -o jsonpath={.status.phase}`+inNamespace+` | grep -q Pending; do sleep 0.2; done`)
			var args []string
			text := must(t, `kubectl get pod resnet-operator-test -o 'jsonpath={.spec.containers[0].args}'`+inNamespace)
			if err := json.Unmarshal([]byte(text), &args); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			must(t, fmt.Sprintf(`kubectl patch resnetjob resnet-operator-test --subresource=status --type=merge -p '{"status":{"state":%q,
				"conditions":[{"status":"True","lastTransitionTime":"2026-01-01T00:00:00Z",%s}]}}'`, test.state, test.condition)+inNamespace)
			said, err := shell(t, `kubectl config view --raw >$DIR/kubeconfig
				token=$(kubectl create token resnet-operator-test`+inNamespace+`)
				export KUBECONFIG=$DIR/kubeconfig
				kubectl config set-credentials the-pod --token="$token" >/dev/null
				kubectl config set-context --current --user the-pod >/dev/null
				$DIR/manager '`+strings.Join(args, "' '")+`'`, dir)
			if (err == nil) != (test.state == "Succeeded") || !strings.Contains(said, test.said) {
				t.Errorf("the pod: %v\n%s", err, said)
			}
			must(t, fmt.Sprintf(`kubectl patch pod resnet-operator-test --subresource=status -p '{"status":{"phase":%q}}'`, test.state)+inNamespace)
			if err := <-tested; (err == nil) != (test.state == "Succeeded") {
				t.Errorf("helm test: %v\n%s", err, out)
			}
		})
	}
	if out := must(t, `kubectl get pods,resnetjobs,roles -o name`+inNamespace+` | grep resnet-operator-test || true`); out != "" {
		t.Errorf("what succeeded is left: %s", out)
	}
	must(t, `helm uninstall resnet-operator`+inNamespace)
	removeAll(t)
}
