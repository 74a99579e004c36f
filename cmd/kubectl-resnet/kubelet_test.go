package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

const nodeName = "node"

// kubelet answers the API server for the pods of tests: it has their logs, and what listens in them.
type kubelet struct {
	server *httptest.Server

	mu    sync.Mutex
	logs  map[string]*podOutput // by namespace/name
	ports map[string]string     // address by namespace/name:port
}

// podOutput is the log of a pod, which a follower waits for until it is complete.
type podOutput struct {
	mu       sync.Mutex
	changed  *sync.Cond
	text     []byte
	complete bool
}

func (o *podOutput) write(text string, complete bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text, o.complete = append(o.text, text...), complete
	o.changed.Broadcast()
}

func startKubelet() (*kubelet, error) {
	k := &kubelet{logs: map[string]*podOutput{}, ports: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", k.serveLog)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.portForward)
	k.server = httptest.NewTLSServer(mux)
	return k, nil
}

func allKinds() *runtime.Scheme {
	s := runtime.NewScheme()
	_ = clientscheme.AddToScheme(s)
	_ = v1.AddToScheme(s)
	return s
}

// register makes the node, once.
func (k *kubelet) register(t *testing.T, c client.Client) {
	t.Helper()
	host, port, _ := net.SplitHostPort(k.server.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if err := c.Create(t.Context(), node); apierrors.IsAlreadyExists(err) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	node.Status = corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(n)}}}
	if err := c.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

// output of a pod.
func (k *kubelet) output(pod *corev1.Pod) *podOutput {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := pod.Namespace + "/" + pod.Name
	o := k.logs[key]
	if o == nil {
		o = &podOutput{}
		o.changed = sync.NewCond(&o.mu)
		k.logs[key] = o
	}
	return o
}

// listen says what listens on a port of a pod.
func (k *kubelet) listen(pod *corev1.Pod, port int, address string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ports[pod.Namespace+"/"+pod.Name+":"+strconv.Itoa(port)] = strings.TrimPrefix(address, "http://")
}

func (k *kubelet) serveLog(w http.ResponseWriter, r *http.Request) {
	o := k.output(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: r.PathValue("namespace"), Name: r.PathValue("pod")}})
	follow := r.URL.Query().Get("follow") == "true"
	tail, err := strconv.ParseInt(r.URL.Query().Get("tailLines"), 10, 64)
	if err != nil {
		tail = -1
	}
	sent := 0
	for {
		o.mu.Lock()
		for follow && !o.complete && len(o.text) == sent && r.Context().Err() == nil {
			o.changed.Wait()
		}
		text, complete := bytes.Clone(o.text[sent:]), o.complete
		o.mu.Unlock()
		sent += len(text)
		_, _ = w.Write(lastLines(text, tail))
		w.(http.Flusher).Flush()
		if !follow || complete || r.Context().Err() != nil {
			return
		}
	}
}

// portForward speaks the protocol of kubectl port-forward, of which the API server carries the streams: for each
// connection one for errors and one for data.
func (k *kubelet) portForward(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	errorStreams := map[string]httpstream.Stream{}
	for {
		select {
		case s := <-streams:
			id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				errorStreams[id] = s
				continue
			}
			go k.pipe(r.PathValue("namespace")+"/"+r.PathValue("pod")+":"+s.Headers().Get(corev1.PortHeader), s, errorStreams[id])
		case <-conn.CloseChan():
			return
		}
	}
}

func (k *kubelet) pipe(where string, data, failed httpstream.Stream) {
	defer failed.Close()
	defer data.Close()
	k.mu.Lock()
	address, ok := k.ports[where]
	k.mu.Unlock()
	if !ok {
		_, _ = io.WriteString(failed, "connection refused")
		return
	}
	target, err := net.Dial("tcp", address)
	if err != nil {
		_, _ = io.WriteString(failed, err.Error())
		return
	}
	go func() {
		_, _ = io.Copy(target, data)
		_ = target.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(data, target)
	_ = target.Close()
}
