package main

import (
	"strings"
	"testing"
)

func TestFreeOf(t *testing.T) {
	const ordinary = "default via 192.0.2.1 dev eth0 \n192.0.2.0/24 dev eth0 proto kernel scope link\n" +
		"local 192.0.2.2 dev eth0 table local\nbroadcast 192.0.2.255 dev eth0 table local\n"
	for _, test := range []struct{ name, routes, want string }{
		{"ordinary", ordinary, ""},
		{"same", ordinary + "10.244.0.0/24 via 172.17.0.2 dev docker0\n", "10.244.0.0/24"},
		{"wider", "10.0.0.0/8 dev tun0\n", "10.0.0.0/8"},
		{"one address", "local 10.200.0.2 dev eth1 table local\n", "10.200.0.2/32"},
	} {
		err := freeOf(test.routes, linkSubnet, podSubnet, svcSubnet)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q in it", test.name, err, test.want)
		}
	}
}

func TestLinkOwner(t *testing.T) {
	const details = "7: resnet0@if2: <BROADCAST> mtu 1500\n    link/ether 0e:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n    veth\n    alias /home/a b/.cluster\n"
	if got := linkOwner(details); got != "/home/a b/.cluster" {
		t.Errorf("got %q", got)
	}
}
