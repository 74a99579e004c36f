package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
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
	if stat, err := os.ReadFile(dir + "stat"); err == nil {
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		u.cpu = time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on Linux
	}
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
