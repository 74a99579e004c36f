package store

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// lister is an S3 server with objects p/00000, p/00001, … that lists ten to a page.
type lister struct {
	objects int
	delay   time.Duration // of each page
	// fails answers a page, which begins after the given key, in another way.
	fails func(w http.ResponseWriter, r *http.Request, after string) bool
	pages atomic.Int64
}

func (l *lister) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after := r.FormValue("start-after")
	if token := r.FormValue("continuation-token"); token != "" {
		after = token
	}
	l.pages.Add(1)
	select {
	case <-time.After(l.delay):
	case <-r.Context().Done():
	}
	if l.fails != nil && l.fails(w, r, after) {
		return
	}
	first := 0
	if after != "" {
		fmt.Sscanf(after, "p/%d", &first)
		first++
	}
	last := min(first+10, l.objects)
	var b strings.Builder
	for i := first; i < last; i++ {
		fmt.Fprintf(&b, "<Contents><Key>p/%05d</Key><Size>%d</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>", i, i)
	}
	more := ""
	if last < l.objects {
		more = fmt.Sprintf("<IsTruncated>true</IsTruncated><NextContinuationToken>p/%05d</NextContinuationToken>", last-1)
	}
	fmt.Fprintf(w, "<ListBucketResult><Name>b</Name>%s%s</ListBucketResult>", more, b.String())
}

func openLister(t *testing.T, l *lister) *s3Store {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secretsecret")
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	st := openTestS3(t, "s3://bucket/p", v1.S3Spec{Endpoint: server.URL, Region: "us-east-1"})
	return st
}

// A listing may take as long as it has pages: the deadline and the patience are for each of them.
func TestLongListing(t *testing.T) {
	quiet(t)
	l := &lister{objects: 300, delay: 20 * time.Millisecond}
	st := openLister(t, l)
	st.timing.stall = 150 * time.Millisecond // in all it takes 600
	infos, err := st.List(t.Context(), "")
	if err != nil || len(infos) != 300 || infos[299].Key != "00299" || infos[299].Size != 299 {
		t.Errorf("%d objects: %v", len(infos), err)
	}
}

// After an error it goes on where it was, and the patience begins anew.
func TestListingGoesOn(t *testing.T) {
	quiet(t)
	var broken atomic.Int64
	l := &lister{objects: 300}
	l.fails = func(w http.ResponseWriter, _ *http.Request, after string) bool {
		if strings.HasSuffix(after, "49") && broken.Add(1)%3 != 0 { // each fifth page fails twice
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	st := openLister(t, l)
	st.timing.patience = 700 * time.Millisecond // not enough for all
	infos, err := st.List(t.Context(), "")
	if err != nil || len(infos) != 300 {
		t.Fatalf("%d objects: %v", len(infos), err)
	}
	for i, info := range infos {
		if info.Key != fmt.Sprintf("%05d", i) {
			t.Fatalf("object %d is %s", i, info.Key)
		}
	}
	if n := l.pages.Load(); n > 60 {
		t.Errorf("%d pages were asked for", n)
	}
}

// A server that says nothing any more in the midst of a listing is one that cannot be reached.
func TestSilentListing(t *testing.T) {
	quiet(t)
	l := &lister{objects: 300}
	l.fails = func(_ http.ResponseWriter, r *http.Request, after string) bool {
		if after == "p/00099" {
			<-r.Context().Done()
			return true
		}
		return false
	}
	st := openLister(t, l)
	st.timing = timing{patience: 300 * time.Millisecond, stall: 50 * time.Millisecond}
	if _, err := st.List(t.Context(), ""); exit.Code(err) != contract.ExitStorage || !strings.Contains(err.Error(), "no answer for 100ms") {
		t.Errorf("exit code %d: %v", exit.Code(err), err)
	}
}
