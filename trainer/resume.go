package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/data"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/export"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/store"
	"github.com/resnet-operator/resnet-operator/trainer/uri"
)

// resume goes on from the newest checkpoint, if there is one, and else from spec.resumeFrom. Rank 0 tells the others.
func (r *run) resume(ctx context.Context, checkpoints *checkpoint.Checkpoints) error {
	if checkpoints != nil {
		if err := r.resumeNewest(ctx, checkpoints); err != nil {
			return err
		}
	}
	return r.shareState()
}

func (r *run) resumeNewest(ctx context.Context, checkpoints *checkpoint.Checkpoints) error {
	snap, name, err := checkpoints.Resume(ctx)
	if err != nil {
		return err
	}
	if snap == nil {
		return r.resumeFrom(ctx)
	}
	if err := r.restore(snap); err != nil {
		return exit.Errorf(contract.ExitConfig, "checkpoint %s does not fit: %w", name, err)
	}
	r.saver.Resumed(r.state.Meta)
	r.log.Info("resumed", "checkpoint", name, "epoch", r.state.Epoch, "step", r.state.Step)
	return nil
}

// restore puts the state of a snapshot in place of the present one.
func (r *run) restore(snap *checkpoint.Snapshot) error {
	if err := sameProcesses(snap.Meta, r.group); err != nil {
		return err
	}
	if err := r.state.Restore(snap); err != nil {
		return err
	}
	r.compareCompute(snap.Meta)
	return nil
}

// compareCompute warns of what is another than when the checkpoint was computed.
func (r *run) compareCompute(before checkpoint.Meta) {
	log, now := r.log, r.state.Meta
	const differ = ": from here on the numbers will differ in their last digits from those of a run without " +
		"interruption"
	if before.Threads != now.Threads {
		log.Warn("the checkpoint was computed with another number of threads"+differ+"; set OMP_NUM_THREADS or the "+
			"pod's CPU limit as before",
			"before", before.Threads, "now", now.Threads)
	}
	if before.Kernels != "" && before.Kernels != now.Kernels {
		log.Warn("the checkpoint was computed with other kernels"+differ+"; let spec.template.nodeSelector choose "+
			"like nodes",
			"before", before.Kernels, "now", now.Kernels)
	}
	if before.Precision != "" && before.Precision != now.Precision {
		log.Warn("the checkpoint was computed in another precision: set spec.training.precision to keep it",
			"before", before.Precision, "now", now.Precision)
	}
	if r.dtype == libtorch.BFloat16 && !libtorch.FastBF16(r.device) && r.plan.Precision != v1.PrecisionBF16 {
		log.Warn("the checkpoint was computed in BF16, for which this processor has no instructions: training goes " +
			"on in BF16, but slowly; " +
			"let spec.template.nodeSelector choose nodes with AMX")
	}
}

// resumeFrom begins with the state or the weights of another training (spec.resumeFrom), if the job says so. It saves
// them at once: a later attempt must begin with the same ones, whatever becomes of that training.
func (r *run) resumeFrom(ctx context.Context) error {
	from := r.job.Spec.ResumeFrom
	if from == nil {
		return nil
	}
	if err := r.startFrom(ctx, *from); err != nil {
		return err
	}
	r.state.Began = r.state.Epoch
	if r.state.StepInEpoch > 0 {
		r.state.Began++
	}
	return r.saver.Save(ctx, r.snapshot, r.isBest())
}

// startFrom puts the state or the weights of another training in place of the present ones. Errors name the field.
func (r *run) startFrom(ctx context.Context, from v1.ResumeFromSpec) error {
	err := r.startFromURI(ctx, from)
	if err == nil || strings.HasPrefix(err.Error(), "spec.") {
		return err
	}
	return fmt.Errorf("spec.resumeFrom.uri: %w", err)
}

func (r *run) startFromURI(ctx context.Context, from v1.ResumeFromSpec) error {
	content, err := readFile(ctx, from.URI, r.job.Spec.Storage.S3)
	notFound := errors.Is(err, store.ErrNotFound)
	switch {
	case err == nil:
		if err := checkSum(from, content); err != nil {
			return err
		}
		return r.startFromFile(uri.Public(from.URI), content)
	case notFound && data.IsURL(from.URI):
		return exit.Errorf(contract.ExitConfig, "%w", err)
	case notFound && from.SHA256 != "":
		return exit.Errorf(contract.ExitConfig, "spec.resumeFrom.sha256 is for a file, and %s is none: leave it out for a "+
			"checkpoint, which knows its own sums", from.URI)
	case notFound:
		return r.startFromCheckpoint(ctx, from.URI, from.WeightsOnly)
	}
	return err
}

// checkSum compares a file with spec.resumeFrom.sha256, if that is set. As with data sets it does not tell what the sum is: the
// trainer may read what the author of the job may not.
func checkSum(from v1.ResumeFromSpec, content []byte) error {
	if sum := sha256.Sum256(content); from.SHA256 != "" && string(from.SHA256) != hex.EncodeToString(sum[:]) {
		return exit.Errorf(contract.ExitData, "%s: its SHA-256 is not %s, which spec.resumeFrom.sha256 wants: the file is "+
			"damaged or another one", uri.Public(from.URI), from.SHA256)
	}
	return nil
}

func (r *run) startFromCheckpoint(ctx context.Context, uri string, weightsOnly bool) error {
	st, err := store.Open(ctx, uri, r.job.Spec.Storage.S3)
	if err != nil {
		return err
	}
	from, err := checkpoint.Load(ctx, st, checkpoint.Latest, weightsOnly)
	if errors.Is(err, checkpoint.ErrNoCheckpoint) {
		return exit.Errorf(contract.ExitConfig,
			"%s is neither a checkpoint, nor the folder of a job that has one, nor a file with weights", uri)
	}
	if err != nil {
		return err
	}
	if weightsOnly {
		return r.startFromWeights(from.URI, from.Model)
	}
	diffs, err := from.Differences(&r.job.Spec)
	if err != nil {
		return err
	}
	if diffs != "" {
		return exit.Errorf(contract.ExitConfig,
			"checkpoint %s belongs to another configuration: %s: set it back, or set spec.resumeFrom.weightsOnly",
			from.URI, diffs)
	}
	if err := r.restore(&from.Snapshot); err != nil {
		return exit.Errorf(contract.ExitConfig, "checkpoint %s does not fit: %w", from.URI, err)
	}
	r.log.Info("resumed from another training", "checkpoint", from.URI,
		"epoch", r.state.Epoch, "step", r.state.Step)
	return nil
}

func (r *run) startFromFile(name string, content []byte) error {
	weights, err := export.ReadWeights(content)
	if err != nil {
		return exit.Errorf(contract.ExitData, "%s: %w", name, err)
	}
	return r.startFromWeights(name, weights)
}

// lastLayer is the part of the network that depends on the number of classes.
const lastLayer = "fc."

// startFromWeights puts weights into the network. A last layer of another number of classes stays as it is: random.
func (r *run) startFromWeights(uri string, weights checkpoint.StateDict) error {
	if err := r.state.Net.Config.CheckArchitecture(weights); err != nil {
		return exit.Errorf(contract.ExitConfig, "%s: %w", uri, err)
	}
	state, err := r.state.Net.StateDict()
	if err != nil {
		return err
	}
	var random []string
	for name, own := range state {
		given, ok := weights[name]
		switch {
		case strings.HasPrefix(name, lastLayer) && (!ok || otherClasses(own, given)):
			random = append(random, name)
			continue
		case !ok:
			return exit.Errorf(contract.ExitConfig,
				"%s: the network needs a tensor %s, which is not there: is it of the same spec.model?", uri, name)
		}
		state[name] = given
	}
	for name := range weights {
		if _, ok := state[name]; !ok {
			return exit.Errorf(contract.ExitConfig, "%s: the network has no tensor %s: is it of the same spec.model?",
				uri, name)
		}
	}
	if err := r.state.LoadWeights(state); err != nil {
		return exit.Errorf(contract.ExitConfig, "%s: %w: is it of the same spec.model?", uri, err)
	}
	slices.Sort(random)
	r.log.Info("starting with the weights of another training", "weights", uri,
		"leftRandom", strings.Join(random, " "))
	return nil
}

// otherClasses reports whether two tensors differ only in their first dimension.
func otherClasses(a, b checkpoint.Tensor) bool {
	return len(a.Shape) == len(b.Shape) && len(a.Shape) > 0 && a.Shape[0] != b.Shape[0] &&
		slices.Equal(a.Shape[1:], b.Shape[1:])
}
