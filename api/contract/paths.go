package contract

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"time"
)

// In the pod.
const (
	// JobFile is the ResNetTrainingJob as JSON: its name, namespace, uid and spec.
	JobFile = "/etc/resnet-operator/job.json"
	// ScratchDir is the only writable folder.
	ScratchDir = "/scratch"
	// TerminationFile receives the Termination.
	TerminationFile = "/dev/termination-log"

	// Port serves ProgressPath, HistoryPath, MetricsPath, ReadyPath and HealthPath.
	Port         = 8080
	ProgressPath = "/progress"
	HistoryPath  = "/history"
	MetricsPath  = "/metrics"
	// ReadyPath answers 200 from the first optimiser step on: a ready pod trains.
	ReadyPath = "/readyz"
	// HealthPath answers 200 as long as the process runs.
	HealthPath = "/healthz"

	// EnvAttempt holds the number of the attempt, from 1.
	EnvAttempt = "RESNET_ATTEMPT"

	// EnvNodes, EnvNodeRank, EnvNodeAddress and EnvProcesses are for the flags --nnodes, --node-rank, --node-address and
	// --processes, where these are not given.
	EnvNodes       = "RESNET_NNODES"
	EnvNodeRank    = "RESNET_NODE_RANK"
	EnvNodeAddress = "RESNET_NODE_ADDRESS"
	EnvProcesses   = "RESNET_PROCESSES"

	// GracePeriod is the time from SIGTERM to SIGKILL: enough to finish a step, save a checkpoint and upload it slowly.
	GracePeriod = 120 * time.Second
)

// JobPrefix is the folder of a job below spec.storage.uri, without slashes at its ends.
func JobPrefix(namespace, name, uid string) string {
	return path.Join(namespace, name, uid)
}

// Below JobPrefix.
const (
	CheckpointsPrefix = "checkpoints"
	LatestKey         = "latest.json"
	BestKey           = "best.json"
	ModelPrefix       = "model"
	ModelKey          = ModelPrefix + "/model.safetensors"
)

// CheckpointName is unique to a step of an attempt, and sorts by epoch and step.
func CheckpointName(epoch int32, step int64, attempt int32) string {
	return fmt.Sprintf("%05d-%08d-a%d", epoch, step, attempt)
}

var checkpointName = regexp.MustCompile(`^([0-9]{1,10})-([0-9]{1,19})-a[0-9]{1,10}$`)

// ParseCheckpointName reads the epoch and the step off a name that CheckpointName made; ok is false for any other.
func ParseCheckpointName(name string) (epoch int32, step int64, ok bool) {
	m := checkpointName.FindStringSubmatch(name)
	if m == nil {
		return 0, 0, false
	}
	e, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return 0, 0, false
	}
	step, err = strconv.ParseInt(m[2], 10, 64)
	return int32(e), step, err == nil
}

// MetricsKey is the JSONL file of an attempt, one line an epoch.
func MetricsKey(attempt int32) string { return fmt.Sprintf("metrics/a%d/metrics.jsonl", attempt) }

// MetricsCSVKey is the same as a table.
func MetricsCSVKey(attempt int32) string { return fmt.Sprintf("metrics/a%d/metrics.csv", attempt) }

// StepsKey is the JSONL file of an attempt's curves within the epochs, one line for some steps.
func StepsKey(attempt int32) string { return fmt.Sprintf("metrics/a%d/steps.jsonl", attempt) }

// EventsKey is the TensorBoard event file of an attempt that began at start. TensorBoard knows such files by their name.
func EventsKey(attempt int32, start time.Time) string {
	return fmt.Sprintf("metrics/a%d/events.out.tfevents.%010d.trainer", attempt, start.Unix())
}

// ReportPrefix is the folder of ReportKey, its pictures, and ReportJSONKey: everything about the run for programs.
const (
	ReportPrefix  = "report"
	ReportKey     = ReportPrefix + "/report.html"
	ReportJSONKey = ReportPrefix + "/report.json"
)

// RendezvousPrefix is the folder of <owner>/<node>.json: for moments, where the nodes of an attempt find each other.
const RendezvousPrefix = "rendezvous"

// LogKey is the log of an attempt.
func LogKey(attempt int32) string { return fmt.Sprintf("logs/a%d.log", attempt) }
