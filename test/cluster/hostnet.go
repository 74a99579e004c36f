package main

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
)

// hostLink is the host's end of the cable to the node. Its alias holds the directory of the cluster that it belongs
// to. When the node's network namespace ends, the kernel takes the link away, and its routes with it.
const hostLink = "resnet0"

// checkNetwork says whether the addresses are free, before anything is changed.
func (c *cluster) checkNetwork() error {
	if owner := hostLinkOwner(); owner != "" {
		return fmt.Errorf("another cluster runs on this machine (network link %s): stop it first with `cluster down --dir %s`",
			hostLink, owner)
	}
	out, err := exec.Command("ip", "-4", "-oneline", "route", "show", "table", "all").Output()
	if err != nil {
		return fmt.Errorf("read the host's routes: %w", err)
	}
	return freeOf(string(out), linkSubnet, podSubnet, svcSubnet)
}

// hostLinkOwner is the directory of the cluster that runs on this machine, or "" if none does.
func hostLinkOwner() string {
	out, err := exec.Command("ip", "-details", "link", "show", "dev", hostLink).Output()
	if err != nil {
		return ""
	}
	return linkOwner(string(out))
}

// linkOwner finds the link's alias in the output of `ip -details link show`.
func linkOwner(details string) string {
	if _, alias, ok := strings.Cut(details, "alias "); ok {
		return strings.TrimSpace(strings.SplitN(alias, "\n", 2)[0])
	}
	return "(unknown)"
}

// removeLink takes the link away, if it is there. The kernel does so too, once nothing uses the node's network; but a connection
// whose process was killed may hold that for minutes.
func removeLink() error {
	out, err := exec.Command("ip", "link", "delete", "dev", hostLink).CombinedOutput()
	if _, gone := net.InterfaceByName(hostLink); gone != nil {
		return nil
	}
	return fmt.Errorf("network link %s does not go away: %v: %s", hostLink, err, out)
}

// freeOf reports a route of the host that overlaps one of the subnets; the default route does not count.
func freeOf(routes string, subnets ...string) error {
	for line := range strings.Lines(routes) {
		fields := strings.Fields(line)
		if len(fields) > 1 && (fields[0] == "local" || fields[0] == "broadcast" || fields[0] == "unreachable") {
			fields = fields[1:]
		}
		if len(fields) == 0 {
			continue
		}
		taken, err := parsePrefix(fields[0])
		if err != nil || taken.Bits() == 0 {
			continue
		}
		for _, subnet := range subnets {
			if taken.Overlaps(netip.MustParsePrefix(subnet)) {
				return fmt.Errorf("the host already has a route to %s, which overlaps the cluster's %s: "+
					"remove it, or run on another machine", taken, subnet)
			}
		}
	}
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		s += "/32"
	}
	return netip.ParsePrefix(s)
}

// plug connects the host with the node's network namespace, and routes pods and Services through the node.
func (c *cluster) plug(pid int) error {
	for _, args := range [][]string{
		{"link", "add", hostLink, "type", "veth", "peer", "name", nodeLink, "netns", strconv.Itoa(pid)},
		{"link", "set", hostLink, "alias", shorten(c.dir, 255)},
		{"address", "add", hostIP + "/30", "dev", hostLink},
		{"link", "set", hostLink, "up"},
		{"route", "add", podSubnet, "via", nodeIP, "dev", hostLink},
		{"route", "add", svcSubnet, "via", nodeIP, "dev", hostLink},
	} {
		if err := run("ip", args...); err != nil {
			return err
		}
	}
	return nil
}

func shorten(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
