// Package page shows jobs in a browser: a table of all, and of each its state, its attempts and, while it trains, its
// curves. It only reads, and knows no more than the API server and the pods tell.
package page

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/controllers/childjob"
)

// Path of the table; that of a job is Path/<namespace>/<name>.
const Path = "/jobs"

// maxJobs is how many jobs the table has, the newest first; maxHistory how much is read of a pod's answer, in bytes.
const (
	maxJobs    = 1000
	maxHistory = 2 << 20
)

var (
	//go:embed page.html.tmpl
	text string
	//go:embed page.js
	script string

	pages = template.Must(template.New("page").Funcs(template.FuncMap{
		"percent": percent, "number": number, "age": age, "why": why, "count": count, "comma": humanize.Comma,
	}).Parse(text))
	policy = fmt.Sprintf("default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'sha256-%s'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", hash(script))
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

type handler struct {
	reader client.Reader
	pods   *http.Client
}

// New returns the handler of Path and what is below it. It reads jobs, Jobs and pods from reader, and asks pods that train
// for their curves through dial.
func New(reader client.Reader, dial func(ctx context.Context, network, address string) (net.Conn, error)) http.Handler {
	h := &handler{reader, &http.Client{
		Timeout:   3 * time.Second,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a pod sends us nowhere
		},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, h.table)
	mux.HandleFunc("GET "+Path+"/{namespace}/{name}", h.job)
	return mux
}

// view is what the template shows: a table, or a job.
type view struct {
	Script template.JS
	Title  string
	Now    time.Time
	Jobs   []v1.ResNetTrainingJob
	More   int
	Job    *v1.ResNetTrainingJob
	// Attempts are those of which there still is a Job, the newest first.
	Attempts []attempt
	Curves   []template.HTML
	NoCurves string
}

type attempt struct {
	Name, State string
	Created     time.Time
}

func (h *handler) table(w http.ResponseWriter, r *http.Request) {
	var list v1.ResNetTrainingJobList
	if err := h.reader.List(r.Context(), &list); err != nil {
		http.Error(w, "the jobs cannot be listed", http.StatusInternalServerError)
		return
	}
	slices.SortFunc(list.Items, func(a, b v1.ResNetTrainingJob) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name))
	})
	n := min(maxJobs, len(list.Items))
	show(w, view{Title: "Jobs", Jobs: list.Items[:n], More: len(list.Items) - n})
}

func (h *handler) job(w http.ResponseWriter, r *http.Request) {
	key := client.ObjectKey{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	job := &v1.ResNetTrainingJob{}
	if err := h.reader.Get(r.Context(), key, job); err != nil {
		if apierrors.IsNotFound(err) {
			http.Error(w, "there is no such job", http.StatusNotFound)
			return
		}
		http.Error(w, "the job cannot be read", http.StatusInternalServerError)
		return
	}
	v := view{Title: key.String(), Job: job}
	var err error
	if v.Attempts, err = h.attempts(r.Context(), job); err != nil {
		http.Error(w, "the attempts cannot be listed", http.StatusInternalServerError)
		return
	}
	if history, err := h.history(r.Context(), job); err != nil {
		v.NoCurves = err.Error()
	} else {
		v.Curves = curves(history)
	}
	show(w, v)
}

func show(w http.ResponseWriter, v view) {
	v.Script, v.Now = template.JS(script), time.Now()
	var out bytes.Buffer
	if err := pages.Execute(&out, v); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	for name, value := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy, "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	} {
		w.Header().Set(name, value)
	}
	_, _ = w.Write(out.Bytes()) // the browser has gone
}

func (h *handler) attempts(ctx context.Context, job *v1.ResNetTrainingJob) (all []attempt, err error) {
	var children batchv1.JobList
	if err := h.reader.List(ctx, &children, client.InNamespace(job.Namespace)); err != nil {
		return nil, err
	}
	slices.SortFunc(children.Items, func(a, b batchv1.Job) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for _, c := range children.Items {
		if !slices.ContainsFunc(c.OwnerReferences, isOf(job)) {
			continue
		}
		state := "running"
		switch {
		case childjob.JobHas(&c, batchv1.JobComplete):
			state = "succeeded"
		case childjob.JobHas(&c, batchv1.JobFailed):
			state = "ended"
		case c.Spec.Suspend != nil && *c.Spec.Suspend:
			state = "suspended"
		}
		all = append(all, attempt{c.Name, state, c.CreationTimestamp.Time})
	}
	return all, nil
}

// history asks the pod of a job that runs.
func (h *handler) history(ctx context.Context, job *v1.ResNetTrainingJob) (*contract.History, error) {
	if job.Status.State != v1.StateRunning || job.Status.PodName == "" {
		if job.Status.Progress == nil {
			return nil, errors.New("no pod trains at the moment")
		}
		return nil, fmt.Errorf("no pod trains at the moment; the curves are in the report: kubectl resnet report -n %s %s",
			job.Namespace, job.Name)
	}
	pod := &corev1.Pod{}
	if err := h.reader.Get(ctx, client.ObjectKey{Namespace: job.Namespace, Name: job.Status.PodName}, pod); err != nil ||
		pod.Status.PodIP == "" {
		return nil, fmt.Errorf("the pod %s has no address", job.Status.PodName)
	}
	url := "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(contract.Port)) + contract.HistoryPath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.pods.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the pod %s does not answer", pod.Name)
	}
	defer resp.Body.Close()
	history := &contract.History{}
	if resp.StatusCode != http.StatusOK ||
		json.NewDecoder(io.LimitReader(resp.Body, maxHistory)).Decode(history) != nil || history.UID != string(job.UID) {
		return nil, fmt.Errorf("the pod %s has no curves", pod.Name)
	}
	return history, nil
}

// WithLogin lets a browser show a token: it asks for a user, of any name, and a password, which is the token.
func WithLogin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != Path && !strings.HasPrefix(r.URL.Path, Path+"/") {
			next.ServeHTTP(w, r)
			return
		}
		if _, token, ok := r.BasicAuth(); ok {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+token)
		}
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="any user; the password is a token", charset="UTF-8"`)
			http.Error(w, "show a token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
