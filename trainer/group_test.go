package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/internal/pytorch"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/progress"
)

// member says how the processes of a group train in a test. It is what they read from standard input.
type member struct {
	Job *v1.ResNetTrainingJob
	// Other is the job of ranks above 0; nil if it is the same.
	Other *v1.ResNetTrainingJob
	// At a step, a rank does something: "stop" or "kill"; or "kill in a sum" of normalisation, at the one of this number.
	Rank   int
	Step   int64
	Action string
}

// envNode makes the test program the first process of node "1/2/3": node 1 of 2, with 3 processes each.
const envNode = "TEST_NODE"

// TestMain lets the test program be a process of a group, too.
func TestMain(m *testing.M) {
	place, err := group.FromEnvironment()
	if err != nil {
		panic(err)
	}
	node := os.Getenv(envNode)
	if place == nil && node == "" {
		os.Exit(m.Run())
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	var how member
	if err := json.Unmarshal(input, &how); err != nil {
		panic(err)
	}
	libtorch.SetThreads(1)
	if place != nil {
		os.Exit(int(exit.Code(how.run(place))))
	}
	var number, nodes, processes int
	fmt.Sscanf(node, "%d/%d/%d", &number, &nodes, &processes)
	os.Unsetenv(envNode)
	place = &group.Place{Rank: number * processes, Size: nodes * processes, PerNode: processes}
	gpus, err := group.LocalGPUs(int(how.Job.Spec.Resources.GPUs))
	if err != nil {
		panic(err)
	}
	local, err := group.StartLocal(place, func(number int) *exec.Cmd {
		cmd := program(input, os.Stderr)
		if gpus != nil {
			cmd.Env = append(cmd.Env, gpus[number])
		}
		return cmd
	})
	if err != nil {
		panic(err)
	}
	err = local.Wait(how.run(place))
	fmt.Fprint(os.Stdout, err)
	os.Exit(int(exit.Code(err)))
}

// program is this test program, as a process of a group.
func program(input []byte, log io.Writer) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), log
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1")
	return cmd
}

func (m *member) run(place *group.Place) error {
	place.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + place.Node())}), 0)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	job := m.Job
	if m.Other != nil && place.Rank > 0 {
		job = m.Other
	}
	if m.Action == "kill in a sum" && place.Rank == m.Rank {
		allReduce = m.killed
	}
	_, err := Run(ctx, job, Options{
		Place:    place,
		Handler:  slog.NewTextHandler(os.Stderr, nil),
		Progress: progress.NewTracker(contract.Progress{Phase: contract.PhaseLoading, StartTime: time.Now()}),
		onStep: func(step int64) {
			if step != m.Step || place.Rank != m.Rank {
				return
			}
			switch m.Action {
			case "stop":
				cancel()
			case "kill":
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		},
	})
	return err
}

// killed takes the place of allReduce.
func (m *member) killed(g *group.Group, numbers []float64) error {
	if m.Step--; m.Step == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return g.SumFloat64(numbers)
}

// runGroup trains in n processes of one node, and returns how rank 0 ended. It returns when all have.
func runGroup(t *testing.T, n int, m member) (contract.ExitCode, string) {
	t.Helper()
	end := runNodes(t, 1, n, m)[0]
	return end.code, end.text
}

// ended is how the first process of a node ended.
type ended struct {
	code contract.ExitCode
	text string
	at   time.Time
}

// runNodes trains in so many processes on each of some nodes, and returns how these ended.
func runNodes(t *testing.T, nodes, processes int, m member) []ended {
	t.Helper()
	if !group.Available || group.OnGPUs && m.Job.Spec.Resources.GPUs == 0 {
		t.Skip("this program was built without Gloo")
	}
	input, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]ended, nodes)
	var wg sync.WaitGroup
	for number := range nodes {
		var last bytes.Buffer
		cmd := program(input, t.Output()) // Run waits for all who have its standard error
		cmd.Stdout, cmd.Env = &last, append(cmd.Env, fmt.Sprintf("%s=%d/%d/%d", envNode, number, nodes, processes))
		wg.Go(func() {
			_ = cmd.Run()
			ends[number] = ended{contract.ExitCode(cmd.ProcessState.ExitCode()), last.String(), time.Now()}
		})
	}
	wg.Wait()
	return ends
}

// groupJob is a job of 2 epochs of 4 steps, for 2 and 3 processes.
func groupJob(dir string, changes ...func(s *spec)) *v1.ResNetTrainingJob {
	return testJob(dir, append([]func(s *spec){func(s *spec) {
		s.Dataset.MaxTrainImages, s.Training.BatchSize = new(int32(48)), 12
	}}, changes...)...)
}

// TestProcesses: several processes give the same bits in every run, interrupted or not, and their tests are those of
// one process.
func TestProcesses(t *testing.T) {
	for n, test := range map[int]struct {
		change func(s *spec)
		ends   []member
	}{
		2: {recipes["SGD, average, frozen statistics"],
			[]member{{Rank: 1, Step: 5, Action: "kill"}, {Rank: 0, Step: 6, Action: "kill"}, {}}},
		3: {func(s *spec) {
			s.Dataset.MaxTrainImages, s.Dataset.MaxTestImages = new(int32(56)), new(int32(100))
			s.Dataset.ValidationFraction = 0.1
		}, []member{{Rank: 1, Step: 2, Action: "stop"}, {}}},
		4: {func(s *spec) {
			s.Training.BatchSize = 16
			recipes["fine-tuning"](s)
			recipes["mixed, weighted, in parts"](s)
			s.Training.UnfreezeAfterEpochs = new(int32(1)) // at step 3
		}, []member{{Rank: 2, Step: 2, Action: "stop"}, {Rank: 3, Step: 5, Action: "kill"}, {}}},
	} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			whole, parts := t.TempDir(), t.TempDir()
			if code, text := runGroup(t, n, member{Job: groupJob(whole, test.change)}); code != contract.ExitDone {
				t.Fatal(code, text)
			}
			for _, m := range test.ends {
				m.Job = groupJob(parts, test.change)
				code, text := runGroup(t, n, m)
				checkEnd(t, m, n, code, text)
			}
			if !bytes.Equal(read(t, whole, contract.ModelKey), read(t, parts, contract.ModelKey)) {
				t.Error("another model than without interruption")
			}
			last := read(t, parts, contract.MetricsKey(int32(len(test.ends))))
			if got, want := metricsOf(t, last), metricsOf(t, read(t, whole, contract.MetricsKey(1))); got != want {
				t.Errorf("metrics:\n%s\nwithout interruption:\n%s", got, want)
			}
			compareTest(t, groupJob(whole, test.change), *metricsLines(t, last)[1].TestLoss)
			// Another number of processes changes what normalisation sees.
			_, err := runJob(t.Context(), t, groupJob(parts, test.change), Options{})
			if exit.Code(err) != contract.ExitConfig || !strings.Contains(err.Error(), fmt.Sprint("use --processes ", n)) {
				t.Errorf("one process went on from several: %v", err)
			}
		})
	}
}

// checkEnd checks how a run ended that was told to.
func checkEnd(t *testing.T, m member, n int, code contract.ExitCode, text string) {
	t.Helper()
	want, said := contract.ExitDone, ""
	switch {
	case m.Action == "stop":
		want, said = contract.ExitStopped, "stopped after step 3" // the step in which the others are told
	case m.Action != "" && m.Rank == 0:
		want = -1
	case m.Action != "":
		want, said = contract.ExitPeerLost, fmt.Sprintf("rank %d of %d ended without a word", m.Rank, n)
	}
	if code != want || !strings.Contains(text, said) {
		t.Fatalf("%q of rank %d: exit code %d, not %d: %s", m.Action, m.Rank, code, want, text)
	}
}

// TestNodes: processes on several nodes give the bits of as many on one node, interrupted or not.
func TestNodes(t *testing.T) {
	for _, test := range []struct {
		nodes, processes int
		encryption       bool
		ends             []member
	}{
		{2, 1, true, []member{{Rank: 1, Step: 2, Action: "kill"}, {Rank: 0, Step: 3, Action: "kill"},
			{Rank: 1, Step: 5, Action: "stop"}, {}}},
		{2, 2, true, []member{{Rank: 3, Step: 2, Action: "kill"}, {}}},
		{2, 2, false, []member{{}}},
		{3, 1, true, []member{{}}},
	} {
		n := test.nodes * test.processes
		t.Run(fmt.Sprintf("%d nodes with %d processes each, encryption %t", test.nodes, test.processes, test.encryption), func(t *testing.T) {
			one, several := t.TempDir(), t.TempDir()
			if code, text := runGroup(t, n, member{Job: groupJob(one)}); code != contract.ExitDone {
				t.Fatal(code, text)
			}
			for _, m := range test.ends {
				m.Job = groupJob(several)
				m.Job.Spec.Distributed = &v1.DistributedSpec{Pods: int32(test.nodes), ProcessesPerPod: int32(test.processes),
					Encryption: &test.encryption}
				checkNodes(t, m, test.processes, n, runNodes(t, test.nodes, test.processes, m))
			}
			if !bytes.Equal(read(t, one, contract.ModelKey), read(t, several, contract.ModelKey)) {
				t.Error("another model than that of one node")
			}
			if _, err := os.Stat(path(several, contract.RendezvousPrefix)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("records of the nodes are left: %v", err)
			}
		})
	}
}

// checkNodes checks how nodes ended that were told to.
func checkNodes(t *testing.T, m member, processes, n int, ends []ended) {
	t.Helper()
	culprit := m.Rank / processes
	for number, end := range ends {
		want, said := contract.ExitDone, ""
		switch {
		case m.Action == "stop":
			want, said = contract.ExitStopped, "stopped after step 6" // the step in which the others are told
		case m.Action == "kill" && m.Rank == number*processes:
			want = -1
		case m.Action == "kill":
			want, said = contract.ExitPeerLost, fmt.Sprintf("rank %d of %d, on node %d, ended without a word", m.Rank, n, culprit)
		}
		if end.code != want || !strings.Contains(end.text, said) {
			t.Fatalf("%q of rank %d, node %d: exit code %d, not %d: %s", m.Action, m.Rank, number, end.code, want, end.text)
		}
		if late := end.at.Sub(ends[culprit].at); m.Action == "kill" && late > 2*time.Second {
			t.Errorf("node %d ended %v after node %d was killed", number, late, culprit)
		}
	}
}

// compareTest compares the test loss with that of one process of one thread.
func compareTest(t *testing.T, job *v1.ResNetTrainingJob, want float64) {
	t.Helper()
	defer libtorch.SetThreads(libtorch.Threads())
	libtorch.SetThreads(1)
	e, err := Evaluate(t.Context(), job, EvaluateOptions{Weights: Weights{Checkpoint: "latest"}})
	if err != nil || e.Loss != want {
		t.Errorf("the test loss is %v, that of one process %v: %v", want, e.Loss, err)
	}
}

// TestUnlikeProcesses: all say which rank is not like rank 0.
func TestUnlikeProcesses(t *testing.T) {
	for name, test := range map[string]struct {
		n             int
		change, other func(s *spec)
		want          string
	}{
		"another job": {2, func(s *spec) {}, func(s *spec) { s.Training.Seed = 2 },
			"rank 1 of 2 differs from rank 0 in the job"},
		"no division": {2, func(s *spec) { s.Training.BatchSize = 9 }, nil,
			"spec.training.batchSize is 9, which cannot be divided among 2 processes"},
		"one image each": {3, func(s *spec) { s.Training.BatchSize = 3 }, nil,
			"at least 2, or 1 with spec.distributed.normalization Synchronized; set it to 6"},
		"no image for one, synchronized": {3, func(s *spec) {
			s.Training.BatchSize, s.Distributed = 2, &v1.DistributedSpec{Normalization: v1.Synchronized}
		}, nil, "set it to 3"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := member{Job: groupJob(dir, test.change)}
			if test.other != nil {
				m.Other = groupJob(dir, test.other)
			}
			if code, text := runGroup(t, test.n, m); code != contract.ExitConfig || !strings.Contains(text, test.want) {
				t.Errorf("exit code %d: %s", code, text)
			}
			if test.n > 2 {
				return
			}
			want := strings.Replace(test.want, "rank 1 of 2", "rank 1 of 2, on node 1,", 1)
			for number, end := range runNodes(t, test.n, 1, m) {
				if end.code != contract.ExitConfig || !strings.Contains(end.text, want) {
					t.Errorf("node %d: exit code %d: %s", number, end.code, end.text)
				}
			}
		})
	}
}

// TestProcessesMatchPyTorch compares the losses of the first steps with those of DistributedDataParallel.
func TestProcessesMatchPyTorch(t *testing.T) {
	const steps, batchSize, processes = 50, 8, 2
	dir := t.TempDir()
	job := testJob(dir, func(s *spec) {
		s.Dataset.MaxTrainImages, s.Dataset.MaxTestImages = new(int32(batchSize)), new(int32(4))
		s.Training.BatchSize, s.Training.Epochs, s.Checkpoint.EveryEpochs = batchSize, steps, steps // an epoch is a step
		s.Model.Activation = v1.SiLU
		s.Training.Optimizer = v1.OptimizerSpec{Type: v1.SGD, LR: new(0.01)}
		s.Training.Schedule = v1.ScheduleSpec{Type: v1.Cosine, WarmupEpochs: 5}
	})
	r := buildRun(t, job)
	var pixels []byte
	var labels []int64
	for epoch := range int32(steps) {
		for b := range r.loader.Epoch(t.Context(), epoch, 0) {
			pixels, labels = append(pixels, b.Pixels...), append(labels, b.Labels...)
		}
	}
	params := peerTraining(r, steps)
	params["schedule"] = pytorch.Schedule(r.plan.Recipe, 1)
	params["processes"], params["rendezvous"] = processes, filepath.Join(t.TempDir(), "rendezvous")
	want := pytorch.Floats(pytorch.Call(t, "ddp", params, checkpoint.StateDict{
		"pixels": pytorch.Pack(pixels, steps, batchSize, 32, 32, int64(r.state.Net.Config.Channels)),
		"labels": pytorch.Pack(labels, steps, batchSize),
	})["losses"])
	if code, text := runGroup(t, processes, member{Job: job}); code != contract.ExitDone {
		t.Fatal(code, text)
	}
	var worst float64
	for i, m := range metricsLines(t, read(t, dir, contract.MetricsKey(1))) {
		worst = max(worst, math.Abs(m.TrainLoss-want[i])/want[i])
	}
	if worst > 1e-4 {
		t.Errorf("a loss differs by %.1e from PyTorch's", worst)
	}
	t.Logf("at most %.1e, a loss from %.3f to %.3f", worst, want[0], want[steps-1])
}
