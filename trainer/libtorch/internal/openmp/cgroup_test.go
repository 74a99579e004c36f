package openmp

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestQuota(t *testing.T) {
	const (
		v2    = "30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup rw\n"
		other = "22 28 0:21 / /proc rw - proc proc rw\n"
		v1    = other + "33 30 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n" +
			"34 30 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
	)
	none := math.Inf(1)
	for name, test := range map[string]struct {
		cgroup, mounts string
		files          map[string]string
		want           float64
	}{
		"docker run --cpus=1": {"0::/\n", other + v2, map[string]string{"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1},
		"half a processor":    {"0::/\n", v2, map[string]string{"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5},
		"no limit":            {"0::/\n", v2, map[string]string{"sys/fs/cgroup/cpu.max": "max 100000\n"}, none},
		"the limit of a group above": {"0::/pods/one/trainer\n", v2, map[string]string{
			"sys/fs/cgroup/pods/one/trainer/cpu.max": "max 100000\n", "sys/fs/cgroup/pods/one/cpu.max": "150000 100000\n",
			"sys/fs/cgroup/pods/cpu.max": "800000 100000\n",
		}, 1.5},
		"version 1 in a container": {"4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/system.slice\n", v1, map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, 2.5},
		"version 1, another group than what is mounted": {"3:cpu,cpuacct:/kubepods/xyz\n", v1, map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "20000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, 0.2},
		"version 1, below what is mounted": {"3:cpu,cpuacct:/docker/abc/child\n", v1, map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/child/cpu.cfs_quota_us": "300000\n", "sys/fs/cgroup/cpu,cpuacct/child/cpu.cfs_period_us": "100000\n",
		}, 3},
		"version 1 without a limit": {"3:cpu,cpuacct:/docker/abc\n", v1, map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, none},
		"cpuset is not cpu": {"3:cpuset:/\n", v1, map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, none},
		"not mounted":   {"0::/\n", other, nil, none},
		"no such files": {"", "", nil, none},
		"nonsense":      {"0::/\nx\n:::\n", "x\n - \n" + v2, map[string]string{"sys/fs/cgroup/cpu.max": "1 0\n"}, none},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			files := map[string]string{"proc/self/cgroup": test.cgroup, "proc/self/mountinfo": test.mounts}
			for path, text := range test.files {
				files[path] = text
			}
			for path, text := range files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := quota(root); got != test.want {
				t.Errorf("a quota of %v, not %v", got, test.want)
			}
		})
	}
}

func TestThreads(t *testing.T) {
	for _, test := range []struct {
		maxProcs int
		quota    float64
		want     int
	}{
		{2, 1, 1}, {2, 0.1, 1}, {2, 1.5, 2}, {4, 2.5, 3}, {4, math.Inf(1), 4}, {1, 8, 1}, {2, 1.0000001, 2},
	} {
		if got := threads(test.maxProcs, test.quota); got != test.want {
			t.Errorf("%d threads for a quota of %v and GOMAXPROCS %d, not %d", got, test.quota, test.maxProcs, test.want)
		}
	}
}
