package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestHierarchies(t *testing.T) {
	const (
		tmpfs  = "30 1 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
		cpu    = "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct\n"
		cpuset = "32 30 0:28 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
		mixed  = "33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
		pure   = "30 1 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	)
	for _, test := range []struct {
		name, mountinfo string
		want            []hierarchy
	}{
		{"v1 and the hybrid's v2", tmpfs + cpu + cpuset + mixed, []hierarchy{
			{path: "/sys/fs/cgroup/cpu,cpuacct", controllers: []string{"rw", "cpu", "cpuacct"}},
			{path: "/sys/fs/cgroup/cpuset", controllers: []string{"rw", "cpuset"}},
			{path: "/sys/fs/cgroup/unified", v2: true},
		}},
		{"v2", pure, []hierarchy{{path: "/sys/fs/cgroup", v2: true}}},
		{"mounted twice", cpuset + cpuset, []hierarchy{
			{path: "/sys/fs/cgroup/cpuset", controllers: []string{"rw", "cpuset"}}}},
		{"none", "1 0 0:1 / / rw - ext4 /dev/vda rw\n", nil},
	} {
		got, err := hierarchies(strings.NewReader(test.mountinfo))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, %v; want %+v", test.name, got, err, test.want)
		}
	}
}
