package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"slices"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/record"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
	"github.com/resnet-operator/resnet-operator/trainer/version"
)

// What several processes of one attempt do together, beside their steps and tests. With one process nothing of it
// happens.

// beginLog begins to record, on rank 0; the other ranks only warn.
func (r *run) beginLog(ctx context.Context, job *v1.ResNetTrainingJob, opts Options) context.Context {
	if p := opts.Place; p != nil && p.Rank > 0 {
		r.rec, r.saver, r.log = silent{opts.Progress}, unsaved{}, slog.New(opts.Handler).With("rank", p.Rank)
		return telemetry.NewContext(ctx, r.log, nil)
	}
	var rec *record.Recorder
	rec, ctx = record.New(ctx, job, opts.Progress, opts.Handler)
	r.rec, r.log = rec, rec.Log
	return ctx
}

// open claims the job's folder for this attempt, on rank 0; the other ranks have no checkpoints.
func (r *run) open(ctx context.Context, job *v1.ResNetTrainingJob, opts Options) (*checkpoint.Checkpoints, error) {
	if opts.Place != nil && opts.Place.Rank > 0 {
		return nil, nil
	}
	st, err := openJob(ctx, job)
	if err != nil {
		return nil, err
	}
	checkpoints, err := checkpoint.Open(ctx, st, job, opts.Attempt)
	if err != nil {
		return nil, err
	}
	r.store = st
	if err := r.rec.Open(ctx, st, checkpoints.Attempt()); err != nil {
		return nil, err
	}
	r.saver = checkpoint.NewSaver(checkpoints, job.Spec.Checkpoint, r.rec.Committed)
	return checkpoints, nil
}

// join connects the processes of this attempt: those of a node are so already; nodes meet in the job's folder.
func (r *run) join(ctx context.Context, job *v1.ResNetTrainingJob, opts Options, checkpoints *checkpoint.Checkpoints) (
	*group.Group, error) {
	p := opts.Place
	if p == nil {
		return nil, nil
	}
	if err := canTrainTogether(p, &job.Spec); err != nil {
		return nil, err
	}
	p.Plain = !job.Spec.Distributed.Encrypted()
	if p.Meets() {
		meeting := group.Rendezvous{Store: r.store}
		if checkpoints != nil {
			meeting.Owner = checkpoints.Owner
		} else {
			st, err := openJob(ctx, job)
			if err != nil {
				return nil, err
			}
			meeting.Store = st
			meeting.Owner = func(ctx context.Context) (string, error) { return checkpoint.Owner(ctx, st, job, opts.Attempt) }
		}
		if err := p.Meet(ctx, meeting); err != nil {
			return nil, err
		}
	}
	return group.Join(ctx, p)
}

// canTrainTogether refuses what the processes of this program cannot do, before they connect. Errors: exit code 64.
func canTrainTogether(p *group.Place, spec *v1.ResNetTrainingJobSpec) error {
	if _, _, err := chooseDevice(spec); err != nil {
		return err
	}
	gpus := spec.Resources.GPUs > 0
	switch {
	case group.OnGPUs && !gpus:
		return exit.Errorf(contract.ExitConfig, "%d processes shall train together, which those of this trainer do on GPUs only: set "+
			"spec.resources.gpus, or use the image for CPUs", p.Size)
	case gpus && spec.Synchronized():
		return exit.Errorf(contract.ExitConfig, "spec.distributed.normalization is Synchronized, which is for CPUs: on GPUs it must be PerProcess")
	case gpus && p.Nodes() > 1 && spec.Distributed.Encrypted():
		return exit.Errorf(contract.ExitConfig, "spec.distributed.encryption must be false with several machines of GPUs, whose exchange (NCCL) "+
			"cannot be encrypted: keep others away from their network")
	}
	if group.OnGPUs && spec.Training.Deterministic {
		group.Deterministic()
	}
	return nil
}

// agree makes sure that all processes begin alike, and returns what is known of the checkpoint to resume from.
func agree(g *group.Group, job *v1.ResNetTrainingJob, opts Options, checkpoints *checkpoint.Checkpoints) (
	found *checkpoint.Meta, err error) {
	if err := g.Same(contract.ExitConfig, func() ([]group.Fact, error) { return origins(job, opts.Attempt) }); err != nil {
		return nil, err
	}
	if checkpoints != nil {
		found = checkpoints.Found()
	}
	return found, group.Share(g, &found)
}

// allReduce makes the sums within normalisation. Tests put something before it.
var allReduce = (*group.Group).SumFloat64

// leastImages of a process in a step: batch normalisation needs two, of whatever process.
func leastImages(spec *v1.ResNetTrainingJobSpec) int32 {
	if spec.Synchronized() {
		return 1
	}
	return 2
}

// divide gives this process its part of each batch.
//
// Errors: exit code 64 if the batches cannot be divided, or the processes are not alike.
func (t *training) divide(g *group.Group) error {
	if g == nil {
		return nil
	}
	n, parts := int32(g.Size()), int32(t.plan.Parts())
	least := leastImages(&t.job.Spec)
	if size := t.plan.BatchSize; size%(n*parts) != 0 || size/(n*parts) < least {
		of := ""
		if parts > 1 {
			of = fmt.Sprintf(", for each of %d parts (spec.training.gradientAccumulationSteps)", parts)
		}
		return exit.Errorf(contract.ExitConfig, "spec.training.batchSize is %d, which cannot be divided among %d processes: "+
			"each needs the same number of images, and at least 2, or 1 with spec.distributed.normalization Synchronized%s; set "+
			"it to %d, for example", size, n, of, max(size/(n*parts), least)*n*parts)
	}
	if t.job.Spec.Synchronized() {
		t.state.Net.Synchronize(libtorch.NewProcessGroup(func(numbers []float64) error { return allReduce(g, numbers) }))
	}
	t.group = g
	t.loader.Slice(g.Rank(), g.Size())
	t.state.Processes = g.Size()
	return g.Same(contract.ExitConfig, t.circumstances)
}

// origins are facts that are known before anything is read.
func origins(job *v1.ResNetTrainingJob, attempt int32) ([]group.Fact, error) {
	encoded, err := json.Marshal(struct {
		Namespace, Name, UID string
		Spec                 v1.ResNetTrainingJobSpec
	}{job.Namespace, job.Name, string(job.UID), job.Spec})
	return []group.Fact{
		{Name: "the version of the trainer", Value: version.String() + " " + version.Commit()},
		{Name: "the version of libtorch", Value: libtorch.Version()},
		{Name: "the job", Value: fmt.Sprintf("%s/%s (%.12x)", job.Namespace, job.Name, sha256.Sum256(encoded))},
		{Name: "the attempt", Value: fmt.Sprint(attempt)},
	}, err
}

// circumstances are facts that decide the bits of the weights.
func (t *training) circumstances() ([]group.Fact, error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for _, im := range []*data.Images{&t.data.Train, &t.data.Validation, &t.data.Test} {
		im.Digest(sum)
	}
	return []group.Fact{
		{Name: "the data", Value: fmt.Sprintf("%s of %d, %d and %d images (%08x)", t.data.Name, t.data.Train.N,
			t.data.Validation.N, t.data.Test.N, sum.Sum32())},
		{Name: "the precision", Value: t.state.Precision},
		{Name: "the kernels", Value: t.state.Kernels},
		{Name: "the number of threads", Value: fmt.Sprint(t.state.Threads)},
	}, nil
}

// compareWeights makes sure that all ranks have the same network, and have observed the same ranges.
func (r *run) compareWeights() error {
	return r.group.Same(contract.ExitUnexpected, func() ([]group.Fact, error) {
		weights, err := r.state.Net.StateDict()
		sum := sha256.New()
		for _, name := range slices.Sorted(maps.Keys(weights)) {
			sum.Write(weights[name].Data)
		}
		for _, ranges := range r.state.Net.Observers() {
			observed, rangesErr := libtorch.Bytes(ranges)
			sum.Write(observed)
			err = errors.Join(err, rangesErr)
		}
		return []group.Fact{{Name: "the weights after the epoch", Value: fmt.Sprintf("%.12x", sum.Sum(nil))}}, err
	})
}

// shareState gives the state of rank 0 to the other ranks.
func (r *run) shareState() error {
	if r.group == nil {
		return nil
	}
	var snap checkpoint.Snapshot
	if r.group.Rank() == 0 {
		var err error
		if snap, err = r.state.Snapshot(); err != nil {
			return err
		}
	}
	for _, tensors := range []*checkpoint.StateDict{&snap.Model, &snap.State} {
		if err := shareTensors(r.group, tensors); err != nil {
			return err
		}
	}
	if err := group.Share(r.group, &snap.Meta); err != nil || r.group.Rank() == 0 {
		return err
	}
	return r.state.Restore(&snap)
}

// shareTensors makes *tensors those of rank 0 in all processes.
func shareTensors(g *group.Group, tensors *checkpoint.StateDict) (err error) {
	var encoded []byte
	if g.Rank() == 0 {
		if encoded, err = checkpoint.EncodeSafetensors(*tensors, nil); err != nil {
			return err
		}
	}
	if encoded, err = g.Share(encoded); err != nil || g.Rank() == 0 {
		return err
	}
	*tensors, _, err = checkpoint.DecodeSafetensors(encoded)
	return err
}

// sameProcesses refuses a checkpoint of another number of processes: normalisation is of the images of a process, or
// else its sums are rounded otherwise.
func sameProcesses(m checkpoint.Meta, g *group.Group) error {
	if before := max(1, m.Processes); before != g.Size() {
		return fmt.Errorf("it is of a training in %d processes, and this one has %d: use --processes %d, or nodes that have "+
			"as many together, or train anew under another name", before, g.Size(), before)
	}
	return nil
}
