package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage of the machine by a process so far.
type usage struct {
	cpu time.Duration
	rss float64 // MiB now
	max float64 // MiB at most
}

// usage reads /proc.
func (p *process) usage() (u usage) {
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	_, u.cpu = stat(dir)
	if status, err := os.ReadFile(dir + "status"); err == nil {
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			kib, _ := strconv.ParseFloat(f[1], 64)
			switch f[0] {
			case "VmRSS:":
				u.rss = kib / 1024
			case "VmHWM:":
				u.max = kib / 1024
			}
		}
	}
	return u
}

// stat returns the parent of a process and the CPU time it used.
func stat(dir string) (parent int, cpu time.Duration) {
	text, err := os.ReadFile(dir + "stat")
	if err != nil {
		return 0, 0
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	parent, _ = strconv.Atoi(f[1])
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return parent, time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// cpuTimes of all components, which are the children of this process, and of this process itself.
func cpuTimes() map[string]time.Duration {
	times := map[string]time.Duration{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		parent, cpu := stat(dir + "/")
		switch os.Getpid() {
		case pid:
			times[benchmark] = cpu
		case parent:
			command, _ := os.ReadFile(dir + "/cmdline")
			name, _, _ := strings.Cut(string(command), "\x00")
			times[filepath.Base(name)] = cpu
		}
	}
	return times
}

// benchmark is this process among the components; it is in no sum.
const benchmark = "the benchmark itself"

// cpuPerJob is what the components used since before, in ms a job.
func cpuPerJob(before map[string]time.Duration, n int) (total float64, list string) {
	var parts []string
	after := cpuTimes()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		ms := (after[name] - before[name]).Seconds() * 1000 / float64(n)
		if name != benchmark {
			total += ms
		}
		parts = append(parts, fmt.Sprintf("%s %.1f", name, ms))
	}
	return total, strings.Join(parts, ", ")
}

// requests counts what the manager asked of the API server, by verb and resource, as the audit log has it. Lists and
// watches of its start are left out.
func (c *cluster) requests() (map[string]int, error) {
	time.Sleep(2 * time.Second) // the log is written in batches
	file, err := os.Open(c.file("audit.log"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	counts := map[string]int{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb      string `json:"verb"`
			ObjectRef *struct {
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
				Namespace   string `json:"namespace"`
			} `json:"objectRef"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		if e.ObjectRef == nil || e.ObjectRef.Namespace != namespace {
			continue
		}
		what := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			what += "/" + e.ObjectRef.Subresource
		}
		counts[e.Verb+" "+what]++
	}
	return counts, lines.Err()
}

func perJob(counts map[string]int, n int) (total float64, list string) {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		total += float64(counts[what]) / float64(n)
		parts = append(parts, fmt.Sprintf("%s %.2f", what, float64(counts[what])/float64(n)))
	}
	return total, strings.Join(parts, ", ")
}

// percentile of values, in seconds.
func percentile(values []time.Duration, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(float64(len(values))*p))].Seconds()
}
