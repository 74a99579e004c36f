package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
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
	precision := "fp32"
	if r.bf16 {
		precision = "bf16"
	}
	r.log.Info("training", "job", r.job.Name, "attempt", r.attempt, "data", r.data.Name,
		"train", r.data.Train.N, "test", r.data.Test.N, "epochs", r.spec.Epochs, "batch", r.spec.BatchSize,
		"device", r.device, "threads", libtorch.Threads(), "precision", precision)
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
	if report || r.losses.full() || r.progress.Snapshot().FirstStepTime == nil {
		if err := r.readLosses(); err != nil {
			return err
		}
	}
	loss, speed := r.meanLoss(), r.speed.imagesPerSecond(now)
	lr, _ := r.schedule.at(r.meta.Step - 1)
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
		r.log.Info(fmt.Sprintf("epoch %d/%d", r.meta.Epoch+1, r.spec.Epochs),
			"step", fmt.Sprintf("%d/%d", r.meta.StepInEpoch, r.loader.StepsPerEpoch()),
			"loss", round(loss, 4), "lr", round(lr, 6), "images/s", round(speed, 1))
	}
	return nil
}

// record closes an epoch: it enters the history, and the next one begins.
func (r *run) record(trained trainResult, tested testResult, took time.Duration) {
	r.meta.Epoch++
	r.meta.StepInEpoch, r.meta.LossSum = 0, 0
	if tested.accuracy > r.meta.BestAccuracy || r.meta.BestEpoch == 0 {
		r.meta.BestAccuracy, r.meta.BestEpoch = tested.accuracy, r.meta.Epoch
	}
	r.meta.History = append(r.meta.History, checkpoint.EpochMetrics{
		Epoch: r.meta.Epoch, Step: r.meta.Step,
		TrainLoss: trained.loss, TestLoss: tested.loss, Accuracy: tested.accuracy,
		LR: trained.lr, ImagesPerSecond: trained.imagesPerSecond, Seconds: took.Seconds(),
	})
	best := r.meta.BestAccuracy
	r.progress.Update(func(p *contract.Progress) {
		p.Epoch = r.meta.Epoch
		p.Loss, p.Accuracy, p.BestAccuracy = &trained.loss, &tested.accuracy, &best
		p.ImagesPerSecond = trained.imagesPerSecond
	})
	r.log.Info(fmt.Sprintf("epoch %d/%d done", r.meta.Epoch, r.spec.Epochs), "loss", round(trained.loss, 4),
		"testLoss", round(tested.loss, 4), "accuracy", round(tested.accuracy, 4), "best", round(best, 4),
		"images/s", round(trained.imagesPerSecond, 1), "seconds", round(took.Seconds(), 1))
}

// saveMetrics writes the history, that of earlier attempts included, one line an epoch, in the background.
func (r *run) saveMetrics() error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, m := range r.meta.History {
		if err := enc.Encode(m); err != nil {
			return err
		}
	}
	r.files.Put(contract.MetricsKey(r.attempt), lines.Bytes())
	return nil
}

// committed is told of every checkpoint that is complete.
func (r *run) committed(c contract.Checkpoint) {
	r.progress.Update(func(p *contract.Progress) { p.Checkpoint = &c })
}

func (r *run) setPhase(phase contract.Phase) {
	r.progress.Update(func(p *contract.Progress) { p.Phase = phase })
}

// openLog begins the log of the attempt. The function that it returns ends it and saves it beside the results.
func (r *run) openLog(ctx context.Context, w io.Writer) (closeLog func(error)) {
	var lines bytes.Buffer
	r.log = slog.New(slog.NewTextHandler(io.MultiWriter(w, &lines), nil))
	r.progress.Update(func(p *contract.Progress) { p.Attempt = r.attempt })
	return func(err error) {
		if err != nil { // the caller shows it on w
			slog.New(slog.NewTextHandler(&lines, nil)).Error(err.Error())
		}
		ctx, cancel := grace(ctx)
		defer cancel()
		if err := r.put(ctx, contract.LogKey(r.attempt), lines.Bytes()); err != nil {
			r.log.Error("log not saved", "error", err)
		}
	}
}
