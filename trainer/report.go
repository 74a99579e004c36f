package trainer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
	"github.com/resnet-operator/resnet-operator/trainer/telemetry"
)

// reportEvery is the time between two lines of the log in an epoch.
const reportEvery = 10 * time.Second

// begin reports that everything is ready.
func (r *run) begin() {
	r.progress.Update(func(p *contract.Progress) {
		p.Epoch, p.Epochs, p.Step, p.Steps = r.meta.Epoch, r.spec.Epochs, r.meta.Step, r.steps()
		if n := len(r.meta.History); n > 0 {
			last := r.meta.History[n-1]
			p.Loss, p.Accuracy, p.BestAccuracy = &last.TrainLoss, &last.Accuracy, new(r.meta.BestAccuracy)
		}
	})
	r.openResults(time.Now())
	r.log.Info("training", "job", r.job.Name, "attempt", r.attempt, "data", r.data.Name,
		"train", r.data.Train.N, "test", r.data.Test.N, "epochs", r.spec.Epochs, "batch", r.spec.BatchSize,
		"device", r.device, "threads", libtorch.Threads(), "precision", precisionName(r.dtype))
}

// afterStep counts a step and reports it.
func (r *run) afterStep() error {
	r.meta.Step++
	r.meta.StepInEpoch++
	now := time.Now()
	r.speed.step(int(r.spec.BatchSize))
	if r.onStep != nil {
		r.onStep(r.meta.Step)
	}
	report := r.speed.reportDue(now)
	if report || r.numbers.full() || r.progress.Snapshot().FirstStepTime == nil {
		if err := r.readNumbers(libtorch.Tensor{}); err != nil {
			return err
		}
	}
	r.recordSteps(eventSteps)
	loss, speed := r.meanLoss(), r.speed.imagesPerSecond(now)
	lr, _ := r.schedule(r.meta.Step - 1)
	r.progress.Update(func(p *contract.Progress) {
		p.Step, p.LR = r.meta.Step, lr
		p.ETASeconds = r.speed.eta(now, r.steps()-r.meta.Step).Seconds()
		if p.FirstStepTime == nil {
			p.FirstStepTime = &now
		}
		if len(r.meta.History) == 0 {
			p.Loss, p.ImagesPerSecond = &loss, speed
		}
	})
	if report {
		r.log.Debug(fmt.Sprintf("epoch %d/%d", r.meta.Epoch+1, r.spec.Epochs),
			"step", fmt.Sprintf("%d/%d", r.meta.StepInEpoch, r.loader.StepsPerEpoch()),
			"loss", round(loss, 4), "lr", round(lr, 6), "images/s", round(speed, 1))
	}
	return nil
}

// record closes an epoch: it enters the history, and the next one begins.
func (r *run) record(trained trainResult, e evaluated, took time.Duration) error {
	r.recordSteps(1)
	r.results.lossSum, r.results.counted = 0, 0
	r.meta.Epoch++
	r.meta.StepInEpoch, r.meta.LossSum, r.meta.GradNormSum, r.meta.Counted = 0, 0, 0, 0
	m := checkpoint.EpochMetrics{
		Epoch: r.meta.Epoch, Step: r.meta.Step,
		TrainLoss: trained.loss, TestLoss: e.test.Loss, Accuracy: e.test.Top1, Top5Accuracy: e.test.Top5,
		FlipTTAAccuracy: e.test.FlipTTA, LR: trained.lr, Momentum: trained.momentum, GradNorm: trained.gradNorm,
		ImagesPerSecond: trained.imagesPerSecond, DataWait: trained.dataWait, MemoryBytes: r.peakMemory(), Seconds: took.Seconds(),
	}
	score := m.Accuracy
	if v := e.validation; v != nil {
		m.ValidationLoss, m.ValidationAccuracy, score = &v.Loss, &v.Top1, v.Top1
	}
	if r.scaler != nil {
		scale, err := libtorch.Values[float32](r.scaler.Scale)
		if err != nil {
			return err
		}
		m.LossScale = new(float64(scale[0]))
	}
	if score > r.meta.BestAccuracy || r.meta.BestEpoch == 0 {
		r.meta.BestAccuracy, r.meta.BestEpoch = score, r.meta.Epoch
	}
	r.meta.History = append(r.meta.History, m)
	r.results.events.Epoch(m, time.Now())
	best := r.meta.BestAccuracy
	r.progress.Update(func(p *contract.Progress) {
		p.Epoch = r.meta.Epoch
		p.Loss, p.Accuracy, p.BestAccuracy = &m.TrainLoss, &m.Accuracy, &best
		p.ImagesPerSecond = trained.imagesPerSecond
	})
	line := []any{"loss", round(m.TrainLoss, 4), "testLoss", round(m.TestLoss, 4), "accuracy", round(m.Accuracy, 4)}
	if m.ValidationAccuracy != nil {
		line = append(line, "validationLoss", round(*m.ValidationLoss, 4), "validationAccuracy", round(*m.ValidationAccuracy, 4))
	}
	r.log.Info(fmt.Sprintf("epoch %d/%d done", r.meta.Epoch, r.spec.Epochs), append(line, "best", round(best, 4),
		"images/s", round(trained.imagesPerSecond, 1), "seconds", round(took.Seconds(), 1))...)
	return nil
}

// peakMemory is the most memory so far, in bytes: that of the GPU, or what of the process was resident.
func (r *run) peakMemory() int64 {
	if memory, err := libtorch.DeviceMemory(); r.device == libtorch.CUDA && err == nil && memory.Peak > 0 {
		return memory.Peak
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Maxrss << 10
}

// committed is told of every checkpoint that is complete.
func (r *run) committed(c contract.Checkpoint) {
	r.progress.Update(func(p *contract.Progress) { p.Checkpoint = &c })
}

func (r *run) setPhase(phase contract.Phase) {
	r.progress.Update(func(p *contract.Progress) { p.Phase = phase })
}

// openLog begins the log of the attempt, and returns a context that takes it, and what the run waits for, to the packages
// below. The function that it returns ends the log and saves it beside the results, if the job's folder is ours by then.
func (r *run) openLog(ctx context.Context, shown slog.Handler) (_ context.Context, closeLog func(error)) {
	lines := &lockedBuffer{}
	saved := slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug})
	r.log = slog.New(slog.NewMultiHandler(shown, saved))
	ctx = telemetry.NewContext(ctx, r.log, func(w *contract.Waiting) {
		r.progress.Update(func(p *contract.Progress) { p.Waiting = w })
	})
	return ctx, func(err error) {
		if err != nil { // the caller shows it
			slog.New(saved).Error(err.Error())
		}
		if keep := r.job.Spec.KeepLogs; r.attempt == 0 || keep != nil && !*keep {
			return
		}
		ctx, cancel := grace(ctx)
		defer cancel()
		if err := r.put(ctx, contract.LogKey(r.attempt), lines.content()); err != nil {
			r.log.Error("log not saved", "error", err)
		}
	}
}

// lockedBuffer is a buffer that may be read while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) content() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}
