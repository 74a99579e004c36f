package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
)

// live is a way to the trainer of a job that runs.
type live struct {
	pod    string
	uid    string
	way    *way
	client *http.Client
}

func (l *live) close() {
	if l != nil {
		l.client.CloseIdleConnections()
		l.way.close()
	}
}

// openLive connects with a trainer.
func (c *cluster) openLive(ctx context.Context, job *v1.ResNetTrainingJob, pod *corev1.Pod) (*live, error) {
	w, err := c.forward(ctx, pod.Namespace, pod.Name, contract.Port)
	if err != nil {
		return nil, err
	}
	return &live{pod.Name, string(job.UID), w, &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{DialContext: w.dial}}}, nil
}

// maxHistory is more than a trainer sends, in bytes.
const maxHistory = 16 << 20

// history asks the trainer for its curves, and its progress.
func (l *live) history(ctx context.Context) (*contract.History, *contract.Progress, error) {
	h, p := &contract.History{}, &contract.Progress{}
	for path, into := range map[string]any{contract.HistoryPath: h, contract.ProgressPath: p} {
		if err := l.get(ctx, path, into); err != nil {
			return nil, nil, err
		}
	}
	if h.UID != l.uid || p.UID != l.uid {
		return nil, nil, fmt.Errorf("pod %s trains another job", l.pod)
	}
	return h, p, nil
}

func (l *live) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.pod+":"+strconv.Itoa(contract.Port)+path, nil)
	if err != nil {
		return err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("the trainer in pod %s is of an older release and serves no %s", l.pod, path)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("pod %s: %s: %s", l.pod, path, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxHistory)).Decode(into)
}
