package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// explain says in one line what is wrong and what to do. What it does not know stays as it is.
func explain(err error) string {
	var status apierrors.APIStatus
	var network *net.OpError
	var request *url.Error
	switch {
	case clientcmd.IsEmptyConfig(err):
		return "there is no kubeconfig: set KUBECONFIG, or give --kubeconfig"
	case errors.As(err, &status):
		return explainStatus(err, status)
	case errors.Is(err, context.DeadlineExceeded) && errors.As(err, &request):
		return fmt.Sprintf("the API server at %s does not answer: is the cluster up, and the right --context chosen?", host(request.URL))
	case errors.As(err, &request) && errors.As(err, &network):
		return fmt.Sprintf("the API server at %s cannot be reached (%v): is the cluster up, and the right --context chosen?",
			host(request.URL), network.Err)
	}
	return err.Error()
}

func explainStatus(err error, status apierrors.APIStatus) string {
	s := status.Status()
	details := s.Details
	switch {
	case apierrors.IsUnauthorized(err):
		return "the API server does not know you: the credentials of the kubeconfig have expired or are another cluster's: log in again"
	case apierrors.IsForbidden(err):
		what, _, _ := strings.Cut(s.Message, ": RBAC")
		return what + ": ask for the right, for jobs by a RoleBinding to the ClusterRole edit (view to look on); kubectl resnet check lists all that it takes"
	case apierrors.IsNotFound(err) && (details == nil || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)):
		return fmt.Sprintf("the cluster has no %s: the operator is not installed (docs/install.md), or the kubeconfig is of another cluster",
			v1.Kind)
	case apierrors.IsNotFound(err) && details.Kind == jobsResource:
		return fmt.Sprintf("there is no job %q in this namespace: kubectl resnet list -A shows all, -n chooses another namespace", details.Name)
	case apierrors.IsTooManyRequests(err):
		return "the API server is overloaded: try again in a minute: " + s.Message
	}
	return err.Error()
}

// jobsResource is the name of the kind in addresses of the API.
const jobsResource = "resnettrainingjobs"

func host(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Host
	}
	return address
}
