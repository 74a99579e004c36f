package openmp

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// quota is how many processors the control groups of this process may use, +Inf if there is no limit or none can be read. root is "",
// or that of a test.
//
// A limit holds for the groups below its own. Where a container's groups are mounted says /proc/self/mountinfo (proc_pid_mountinfo(5)),
// which group of a hierarchy is this process' /proc/self/cgroup (cgroups(7)).
func quota(root string) float64 {
	groups, _ := os.ReadFile(root + "/proc/self/cgroup")
	mounts, _ := os.ReadFile(root + "/proc/self/mountinfo")
	least := math.Inf(1)
	for line := range strings.Lines(string(groups)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, found := strings.Cut(rest, ":")
		v2 := id == "0" && controllers == ""
		if !found || !v2 && !has(controllers, "cpu") {
			continue
		}
		point, path := mountOf(string(mounts), group, v2)
		if point == "" {
			continue
		}
		for ; ; path = path[:strings.LastIndexByte(path, '/')] {
			least = math.Min(least, limit(root+point+path, v2))
			if path == "" {
				break
			}
		}
	}
	return least
}

// mountOf is where the hierarchy of a group is mounted, and where the group is below that ("" or /…). A group outside of what is mounted, as one
// sees it from a container of version 1, is the one at the mount point.
func mountOf(mounts, group string, v2 bool) (point, path string) {
	for line := range strings.Lines(mounts) {
		mount, kind, found := strings.Cut(line, " - ")
		m, k := strings.Fields(mount), strings.Fields(kind)
		if !found || len(m) < 5 || len(k) < 3 {
			continue
		}
		if v2 && k[0] != "cgroup2" || !v2 && !(k[0] == "cgroup" && has(k[2], "cpu")) {
			continue
		}
		below, inside := strings.CutPrefix(strings.TrimSuffix(group, "/"), strings.TrimSuffix(m[3], "/"))
		if inside && (below == "" || below[0] == '/') && !strings.Contains(below, "..") {
			return m[4], below
		}
		return m[4], ""
	}
	return "", ""
}

// limit of one group, in processors.
func limit(dir string, v2 bool) float64 {
	var fields []string // quota and period, in microseconds
	if v2 {
		text, _ := os.ReadFile(dir + "/cpu.max")
		fields = strings.Fields(string(text))
	} else {
		for _, name := range []string{"cpu.cfs_quota_us", "cpu.cfs_period_us"} {
			text, _ := os.ReadFile(dir + "/" + name)
			fields = append(fields, strings.TrimSpace(string(text)))
		}
	}
	if len(fields) != 2 {
		return math.Inf(1)
	}
	quota, errQuota := strconv.ParseFloat(fields[0], 64) // "max" or -1 for none
	period, errPeriod := strconv.ParseFloat(fields[1], 64)
	if errQuota != nil || errPeriod != nil || quota <= 0 || period <= 0 {
		return math.Inf(1)
	}
	return quota / period
}

// has reports whether a list with commas has a name.
func has(list, name string) bool { return strings.Contains(","+list+",", ","+name+",") }
