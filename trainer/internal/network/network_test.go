package network

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestGuardedAddresses(t *testing.T) {
	for address, guarded := range map[string]bool{
		"169.254.169.254":          true,
		"169.254.170.2":            true,
		"::ffff:169.254.169.254":   true,
		"::169.254.169.254":        true,
		"64:ff9b::169.254.169.254": true,
		"fe80::a9fe:a9fe":          true,
		"fe80::1%eth0":             true,
		"fd00:ec2::254":            true,
		"fd20:ce::254":             true,
		"fd00:c1::a9fe:a9fe":       true,
		"fd00:42::42":              true,
		"100.100.100.200":          true,
		"168.63.129.16":            true,

		"127.0.0.1":        false, // MinIO on a laptop
		"::1":              false,
		"::":               false,
		"10.0.0.1":         false,
		"100.100.100.1":    false,
		"fd00::1":          false,
		"64:ff9b::1.1.1.1": false,
		"8.8.8.8":          false,
	} {
		err := control("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 80).String(), nil)
		var refused *Refused
		if errors.As(err, &refused) != guarded {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A name that leads to such an address is of no use either; nor is one that did not when it was looked at first.
func TestNamesOfGuardedAddresses(t *testing.T) {
	for name, answer := range map[string]string{"IPv4": "169.254.169.254", "IPv6": "fd00:ec2::254"} {
		t.Run(name, func(t *testing.T) {
			d := net.Dialer{Control: control, Resolver: resolver(t, netip.MustParseAddr(answer))}
			_, err := d.DialContext(t.Context(), "tcp", "metadata.example.com:80")
			var refused *Refused
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), answer+" is link-local or a metadata service of a cloud") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAllowedHosts(t *testing.T) {
	for entries, allowed := range map[string]bool{
		"": false, "cdn.example.com": false, "169.254.1.1": false, "169.254.42.0/24": false,
		"169.254.169.254": true, "cdn.example.com, 169.254.169.0/24": true, "*": true,
	} {
		t.Setenv(EnvAllowed, entries)
		if err := control("tcp", "169.254.169.254:80", nil); (err == nil) != allowed {
			t.Errorf("%q: %v", entries, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	for name, c := range map[string]struct {
		from, to, allowed string
		ok                bool
	}{
		"a folder":              {"https://a.example/x", "https://a.example/x/", "", true},
		"to https":              {"http://a.example/x", "https://a.example/x", "", true},
		"from https":            {"https://a.example/x", "http://a.example/x", "", false},
		"another host":          {"https://a.example/x", "https://b.example/x", "", false},
		"another port":          {"http://a.example/x", "http://a.example:15000/x", "", false},
		"a port with https":     {"http://a.example:80/x", "https://a.example:15000/x", "", false},
		"a host that is named":  {"https://a.example/x", "https://cdn.b.example/x", "c.example,cdn.b.example", true},
		"a domain":              {"https://a.example/x", "https://cdn.b.example/x", "*.b.example", true},
		"no part of a name":     {"https://a.example/x", "https://evilb.example/x", "*.b.example", false},
		"all":                   {"https://a.example/x", "https://b.example/x", "*", true},
		"an account in the way": {"https://a.example/x", "https://a.example@b.example/x", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(EnvAllowed, c.allowed)
			from := httptest.NewRequest(http.MethodGet, c.from, nil)
			to := httptest.NewRequest(http.MethodGet, c.to, nil)
			to.Header.Set("Referer", c.from+"?signature=SECRET")
			err := CheckRedirect(to, []*http.Request{from})
			var refused *Refused
			if (err == nil) != c.ok || err != nil && !errors.As(err, &refused) {
				t.Errorf("got %v", err)
			}
			if to.Header.Get("Referer") != "" {
				t.Error("the next server is told the signature")
			}
		})
	}
}

func TestWordsOfServers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024)) // before the request an answer is dropped
			_, _ = c.Write([]byte("SSH-2.0-secret\r\n"))
			c.Close()
		}
	}()
	_, err = http.Get("http://" + listener.Addr().String())
	var outer *url.Error
	if !errors.As(err, &outer) || !strings.Contains(err.Error(), "secret") {
		t.Fatalf("this Go tells nothing: %v", err)
	}
	if got := Plain(outer.Err); strings.Contains(got.Error(), "secret") || got.Error() != "the server does not speak HTTP" {
		t.Errorf("got %v", got)
	}
	if got := Plain(net.ErrClosed); got != net.ErrClosed {
		t.Errorf("got %v", got)
	}
}

// resolver asks a DNS server of the test, which knows one address for all names.
func resolver(t *testing.T, answer netip.Addr) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		query := make([]byte, 512)
		for {
			n, client, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			if reply, err := reply(query[:n], answer); err == nil {
				_, _ = server.WriteTo(reply, client)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// reply answers a question for an address, if it is of the kind that is asked for.
func reply(query []byte, answer netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
	switch {
	case q.Type == dnsmessage.TypeA && answer.Is4():
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: answer.As4()}}}
	case q.Type == dnsmessage.TypeAAAA && answer.Is6():
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: answer.As16()}}}
	}
	return m.Pack()
}
