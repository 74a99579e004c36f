// Package network keeps requests, whose addresses anybody may have written into a job, from what is nobody's business:
// the metadata of clouds, which hands out credentials, and hosts to which a server redirects. What must be reached all the
// same stands in the variable TRAINER_ALLOWED_HOSTS.
package network

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// EnvAllowed lists what is allowed besides, separated by commas: addresses and their ranges (169.254.42.0/24), which may
// then be connected to; hosts (cdn.example.com, *.example.com), which servers may then redirect to; or *, for all.
const EnvAllowed = "TRAINER_ALLOWED_HOSTS"

// guarded are the addresses of one link, among which clouds have their metadata, and the places outside of these where
// they have it too.
var guarded = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),     // link-local, RFC 3927: the metadata of nearly all clouds
	netip.MustParsePrefix("fe80::/10"),          // link-local, RFC 4291
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS: fd00:ec2::254, ::23
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
	netip.MustParsePrefix("fd00:c1::/32"),       // Oracle Cloud: fd00:c1::a9fe:a9fe
	netip.MustParsePrefix("fd00:42::42/128"),    // Scaleway
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
}

// translated hold an IPv4 address in their last four bytes: NAT64, RFC 6052, and IPv4-compatible ones, RFC 4291.
var translated = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("::/96")}

// Refused is a connection that was not made, or a redirect that was not followed.
type Refused struct {
	what string
}

// Error says what would be right.
func (r *Refused) Error() string { return r.what }

// DialContext connects as net.Dialer does, but to no guarded address, whatever name leads there: the address is looked at
// when the connection is made. The error is then a Refused.
func DialContext(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Control: control}).DialContext
}

func control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if addr := plain(a.Addr()); isGuarded(addr) && !allowedAddress(addr) {
		return &Refused{fmt.Sprintf("%s is link-local or a metadata service of a cloud, which no job may reach: correct the address, or allow it by %s", addr, EnvAllowed)}
	}
	return nil
}

// plain is an address in its shortest form.
func plain(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	for _, p := range translated {
		if bytes := addr.AsSlice(); p.Contains(addr) && !addr.IsLoopback() && !addr.IsUnspecified() {
			return netip.AddrFrom4([4]byte(bytes[12:]))
		}
	}
	return addr
}

func isGuarded(addr netip.Addr) bool {
	for _, p := range guarded {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// allowed are the entries of EnvAllowed.
func allowed(yield func(string) bool) {
	for entry := range strings.SplitSeq(os.Getenv(EnvAllowed), ",") {
		if entry = strings.TrimSpace(entry); entry != "" && !yield(entry) {
			return
		}
	}
}

func allowedAddress(addr netip.Addr) bool {
	for entry := range allowed {
		if a, err := netip.ParseAddr(entry); entry == "*" || err == nil && plain(a) == addr {
			return true
		}
		if p, err := netip.ParsePrefix(entry); err == nil && p.Contains(addr) {
			return true
		}
	}
	return false
}

func allowedHost(host string) bool {
	for entry := range allowed {
		if suffix, ok := strings.CutPrefix(entry, "*"); ok && strings.HasSuffix(host, suffix) || entry == host {
			return true
		}
	}
	return false
}

// mostRedirects is Go's own.
const mostRedirects = 10

// ErrRedirects is the end of a circle.
var ErrRedirects = fmt.Errorf("is redirected %d times", mostRedirects)

// CheckRedirect is that of an http.Client. It follows a redirect on the same host and port, and from http to https on the
// same host; another one is a Refused. The signature of a URL is not told as its Referer.
func CheckRedirect(req *http.Request, via []*http.Request) error {
	req.Header.Del("Referer")
	if len(via) >= mostRedirects {
		return ErrRedirects
	}
	from, to := via[len(via)-1].URL, req.URL
	upgraded := from.Scheme == "http" && to.Scheme == "https" && from.Port() == "" && to.Port() == "" && from.Hostname() == to.Hostname()
	if from.Scheme == to.Scheme && from.Host == to.Host || upgraded || allowedHost(to.Hostname()) {
		return nil
	}
	return &Refused{fmt.Sprintf("redirects to another host or protocol, %q: name that in the URI, or allow the host by %s", to.Scheme+"://"+to.Host, EnvAllowed)}
}
