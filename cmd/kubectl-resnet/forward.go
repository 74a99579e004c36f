package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

var getOptions = metav1.GetOptions{}

// way is a port-forward to a pod; nil is the network.
type way struct {
	address string // on this machine
	stop    chan struct{}
}

func (w *way) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, w.address)
}

func (w *way) close() {
	if w != nil {
		close(w.stop)
	}
}

// forward connects a port of this machine with one of a pod, as kubectl port-forward does. It needs the right to create
// pods/portforward. A NetworkPolicy is not in the way: the kubelet connects inside of the pod.
func (c *cluster) forward(ctx context.Context, namespace, pod string, port int32) (*way, error) {
	u := c.core.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	overWebsocket, err := portforward.NewSPDYOverWebsocketDialer(u, c.config)
	if err != nil {
		return nil, err
	}
	dialer = portforward.NewFallbackDialer(overWebsocket, dialer, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	w, ready := &way{stop: make(chan struct{})}, make(chan struct{})
	f, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, w.stop, ready,
		io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		return nil, fmt.Errorf("port-forward to pod %s: %w", pod, cmp.Or(err, errors.New("it ended at once")))
	case <-ctx.Done():
		w.close()
		return nil, ctx.Err()
	}
	ports, err := f.GetPorts()
	if err != nil {
		w.close()
		return nil, err
	}
	w.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local)))
	return w, nil
}

// wayTo returns a port-forward to the server of an endpoint if that is a Service of the cluster, else nil: a name such as
// http://minio.storage:9000 means nothing on this machine.
func (c *cluster) wayTo(ctx context.Context, namespace, endpoint string) (*way, error) {
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" {
		return nil, nil // the storage says what is wrong with it
	}
	name, namespace, ok := serviceName(u.Hostname(), namespace)
	if !ok {
		return nil, nil
	}
	service, err := c.core.CoreV1().Services(namespace).Get(ctx, name, getOptions)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the storage %s may be a Service of the cluster: %s", endpoint, explain(err))
	}
	port := int32(80)
	if u.Scheme == "https" {
		port = 443
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, nil
		}
		port = int32(n)
	}
	pod, target, err := c.behind(ctx, service, port)
	if err != nil {
		return nil, fmt.Errorf("the storage %s: %w", endpoint, err)
	}
	w, err := c.forward(ctx, namespace, pod, target)
	if err != nil {
		return nil, fmt.Errorf("the storage %s is a Service of the cluster: %s", endpoint, explain(err))
	}
	return w, nil
}

// serviceName is the Service that a host name may be that of: minio, minio.storage, minio.storage.svc[.cluster.local].
func serviceName(host, namespace string) (name, ns string, ok bool) {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	switch {
	case net.ParseIP(host) != nil || host == "localhost" || host == "":
		return "", "", false
	case len(parts) == 1:
		return parts[0], namespace, true
	case len(parts) == 2, parts[2] == "svc":
		return parts[0], parts[1], true
	}
	return "", "", false
}

// behind returns a pod that serves a port of a Service, and its own number for that port.
func (c *cluster) behind(ctx context.Context, service *corev1.Service, port int32) (pod string, target int32, err error) {
	at := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	if at < 0 {
		return "", 0, fmt.Errorf("Service %s in namespace %s has no port %d", service.Name, service.Namespace, port)
	}
	if len(service.Spec.Selector) == 0 {
		return "", 0, fmt.Errorf("Service %s in namespace %s selects no pods, so there is nothing to forward a port to", service.Name,
			service.Namespace)
	}
	pods, err := c.core.CoreV1().Pods(service.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.SelectorFromSet(service.Spec.Selector).String()})
	if err != nil {
		return "", 0, errors.New(explain(err))
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if !podReady(p) {
			continue
		}
		if target := targetPort(p, service.Spec.Ports[at].TargetPort, port); target > 0 {
			return p.Name, target, nil
		}
	}
	return "", 0, fmt.Errorf("none of the %d pods of Service %s in namespace %s is ready", len(pods.Items), service.Name, service.Namespace)
}

func podReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// targetPort of a pod behind a Service's port; 0 if the pod has none of that name.
func targetPort(pod *corev1.Pod, target intstr.IntOrString, port int32) int32 {
	if target.Type == intstr.Int {
		return cmp.Or(target.IntVal, port)
	}
	for _, container := range pod.Spec.Containers {
		for _, p := range container.Ports {
			if p.Name == target.StrVal {
				return p.ContainerPort
			}
		}
	}
	return 0
}
