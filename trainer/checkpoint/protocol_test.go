package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"path"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// goal is the number of steps of a simulated run, two an epoch. It saves after each epoch, and inside of some, as with
// everySeconds. The last attempt does one more epoch.
const goal = 10

// accuracy after an epoch, from 1, and the epoch whose accuracy is the highest.
var accuracy = []float64{0, 0.3, 0.7, 0.5, 0.8, 0.6, 0.4}

const bestEpoch = 4

// TestProtocol runs up to four attempts at a job side by side. A scheduler, driven by rapid, picks which of them does its
// next operation on the storage, and how that ends: well; done but unanswered; refused although done (a client's own
// retry); not done; unanswered, and done at some time later; with the death of the process before, after, or while the
// request is still on its way. Listings may be behind. Processes try again, or go on to the next checkpoint.
func TestProtocol(t *testing.T) {
	quiet(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, memory: memory{}, faults: true, job: testJob(func(s *v1.ResNetTrainingJobSpec) {
			s.Checkpoint.KeepLast = rapid.Int32Range(1, 3).Draw(rt, "keepLast")
			s.Checkpoint.KeepBest = new(rapid.Bool().Draw(rt, "keepBest"))
		})}
		for len(w.running()) > 0 || w.started < 4 {
			w.next()
		}
		for _, late := range w.late {
			w.apply(late)
		}
		w.faults = false
		last := w.start(w.started+1, goal+2)
		for !last.ended {
			w.serve(last)
		}
		if last.err != nil || w.acked != goal+2 {
			rt.Fatalf("an attempt without faults ended with %v, last step saved %d", last.err, w.acked)
		}
		w.checkEnd()
	})
}

// world is the storage and the processes on it.
type world struct {
	t       *rapid.T
	memory  memory
	job     *v1.ResNetTrainingJob
	faults  bool
	started int32
	procs   []*process
	late    []func() error // requests that nobody waits for any more, but that still arrive
	past    []memory       // what was there before the last operations, for listings that are behind

	opened int32 // newest attempt whose Open returned
	owner  int32 // of latest.json
	acked  int64 // newest step whose Save returned nil
}

// process is one attempt in a goroutine of its own, which waits at each operation until the scheduler lets it go on.
type process struct {
	memory
	world   *world
	attempt int32
	goal    int64
	inside  uint16 // the steps inside of an epoch after which it saves, as bits
	giveUp  uint16 // the steps whose checkpoint it drops for the next one if the storage is away
	events  chan event
	dead    bool
	ended   bool
	err     error
	pending event
	// opened is world.opened at the time the save under way began.
	opened int32
}

type event struct {
	apply       func() error // an operation on the storage
	conditional bool
	reply       chan error

	note string // else: opened, saving, saved, ended
	step int64
	err  error
}

var (
	errDead    = errors.New("the process is dead")
	errNetwork = exit.Errorf(contract.ExitStorage, "connection reset")
)

func (w *world) running() (ps []*process) {
	for _, p := range w.procs {
		if !p.ended {
			ps = append(ps, p)
		}
	}
	return ps
}

// next lets one thing happen. A process does several operations in a row, so that the others stand still for long.
func (w *world) next() {
	running := w.running()
	choices := len(running) * 4
	pick := rapid.IntRange(0, choices).Draw(w.t, "who")
	switch {
	case pick < choices:
		p := running[pick/4]
		for range rapid.IntRange(1, 30).Draw(w.t, "operations") {
			if !p.ended {
				w.serve(p)
			}
		}
	case w.started < 4:
		w.start(w.started+1, goal)
	case len(w.late) > 0:
		w.apply(w.late[0])
		w.late = w.late[1:]
	}
}

func (w *world) start(attempt int32, goal int64) *process {
	p := &process{memory: w.memory, world: w, attempt: attempt, goal: goal, events: make(chan event),
		inside: rapid.Uint16().Draw(w.t, "inside"), giveUp: rapid.Uint16().Draw(w.t, "giveUp")}
	w.started = attempt
	w.procs = append(w.procs, p)
	go p.run()
	w.await(p)
	return p
}

// await takes the notes of a process until it is at an operation or has ended.
func (w *world) await(p *process) {
	for {
		e := <-p.events
		switch e.note {
		case "":
			p.pending = e
			return
		case "opened":
			w.opened = max(w.opened, p.attempt)
		case "saving":
			p.opened = w.opened
		case "saved":
			if p.opened > p.attempt {
				w.t.Fatalf("attempt %d saved after attempt %d had opened", p.attempt, p.opened)
			}
			w.acked = max(w.acked, e.step)
		case "ended":
			p.ended, p.err = true, e.err
			fenced := exit.Code(e.err) == contract.ExitFenced
			if fenced && p.attempt >= w.started {
				w.t.Fatalf("the newest attempt was fenced: %v", e.err)
			}
			if !fenced && !p.dead && e.err != nil && !errors.Is(e.err, errNetwork) {
				w.t.Fatalf("attempt %d: %v", p.attempt, e.err)
			}
			return
		}
	}
}

// serve lets a process do its operation.
func (w *world) serve(p *process) {
	e := p.pending
	fault := 0
	if w.faults && !p.dead {
		fault = rapid.IntRange(0, 60).Draw(w.t, "fault")
	}
	var err error
	switch {
	case p.dead:
		err = errDead
	case fault == 60 && e.conditional: // done, but the client's own retry is refused
		if err = w.apply(e.apply); err == nil {
			err = store.ErrPreconditionFailed
		}
	case fault == 59:
		w.apply(e.apply)
		err = errNetwork
	case fault == 58:
		err = errNetwork
	case fault == 57:
		p.dead, err = true, errDead
	case fault == 56:
		w.apply(e.apply)
		p.dead, err = true, errDead
	case fault == 55:
		w.late = append(w.late, e.apply)
		p.dead, err = true, errDead
	case fault == 54:
		w.late = append(w.late, e.apply)
		err = errNetwork
	default:
		err = w.apply(e.apply)
	}
	e.reply <- err
	w.await(p)
}

// apply does an operation and checks that what must always hold still does.
func (w *world) apply(op func() error) error {
	w.past = append(w.past, maps.Clone(w.memory))
	w.past = w.past[max(0, len(w.past)-20):]
	err := op()
	latest := w.pointer(contract.LatestKey)
	if latest.Attempt < w.owner {
		w.t.Fatalf("latest.json went from attempt %d back to %d", w.owner, latest.Attempt)
	}
	w.owner = latest.Attempt
	if latest.Step < w.acked {
		w.t.Fatalf("step %d was acknowledged, latest.json is at %d", w.acked, latest.Step)
	}
	for _, name := range []string{latest.Checkpoint, latest.Best, w.pointer(contract.BestKey).Checkpoint} {
		if name != "" {
			w.checkComplete(name)
		}
	}
	return err
}

func (w *world) pointer(key string) (p pointer) {
	if data, ok := w.memory[key]; ok {
		if err := json.Unmarshal(data, &p); err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

func (w *world) checkComplete(name string) {
	c := &Checkpoints{store: w.memory, config: testConfig}
	s, _, err := c.load(context.Background(), name)
	if err != nil {
		w.t.Fatalf("a pointer names %s: %v", name, err)
	}
	if err := sameStep(s); err != nil {
		w.t.Fatal(err)
	}
}

// checkEnd checks what is left after a last attempt that had no faults.
func (w *world) checkEnd() {
	best := w.pointer(contract.BestKey)
	switch {
	case !*w.job.Spec.Checkpoint.KeepBest:
		if best.Checkpoint != "" {
			w.t.Fatalf("best.json: %+v", best)
		}
	case best.Step != 2*bestEpoch || best.Accuracy != accuracy[bestEpoch]:
		w.t.Fatalf("best.json: %+v", best)
	}
	c := &Checkpoints{store: w.memory}
	all, err := c.list(context.Background())
	if most := int(w.job.Spec.Checkpoint.KeepLast) + 1; err != nil || len(all) > most {
		w.t.Fatalf("left over: %+v, %v", all, err)
	}
}

// run is a trainer without a network.
func (p *process) run() {
	p.events <- event{note: "ended", err: p.train(context.Background())}
}

func (p *process) train(ctx context.Context) error {
	c, err := Open(ctx, p, p.world.job, p.attempt)
	if err != nil {
		return err
	}
	p.events <- event{note: "opened"}
	s, _, err := c.Resume(ctx)
	if err != nil {
		return err
	}
	var meta Meta
	if s != nil {
		if err := sameStep(s); err != nil {
			return err
		}
		meta = s.Meta
	}
	for meta.Step < p.goal {
		meta.Step++
		isBest := false
		if meta.Step%2 == 0 {
			meta.Epoch++
			record := EpochMetrics{Epoch: meta.Epoch, Accuracy: new(accuracy[meta.Epoch])}
			isBest = !slices.ContainsFunc(meta.History, func(m EpochMetrics) bool { return *m.Accuracy >= *record.Accuracy })
			meta.History = append(slices.Clone(meta.History), record)
		} else if p.inside>>meta.Step&1 == 0 {
			continue
		}
		if err := p.save(ctx, c, meta, isBest); err != nil {
			return err
		}
	}
	return nil
}

// save does what a Saver does.
func (p *process) save(ctx context.Context, c *Checkpoints, meta Meta, isBest bool) error {
	for try := 0; ; try++ {
		p.events <- event{note: "saving"}
		_, err := c.Save(ctx, snapshotOf(meta), isBest)
		switch {
		case err == nil:
			p.events <- event{note: "saved", step: meta.Step}
			return nil
		case !errors.Is(err, errNetwork) || try == 3:
			return err
		case !isBest && meta.Step < p.goal && p.giveUp>>meta.Step&1 == 1:
			return nil
		}
	}
}

// snapshotOf has the step as the content of its tensors.
func snapshotOf(m Meta) Snapshot {
	data := binary.LittleEndian.AppendUint64(nil, uint64(m.Step))
	return Snapshot{
		Model: StateDict{"weight": {"U8", []int64{8}, data}},
		State: StateDict{"step": {"I64", nil, data}},
		Meta:  m,
	}
}

func sameStep(s *Snapshot) error {
	want := snapshotOf(s.Meta)
	if !bytes.Equal(s.Model["weight"].Data, want.Model["weight"].Data) || !bytes.Equal(s.State["step"].Data, want.State["step"].Data) {
		return errors.New("model, state and meta are of different steps")
	}
	return nil
}

// do waits for the scheduler and returns what it says.
func (p *process) do(conditional bool, apply func() error) error {
	reply := make(chan error)
	p.events <- event{apply: apply, conditional: conditional, reply: reply}
	return <-reply
}

func (p *process) Get(ctx context.Context, key string) (r io.ReadCloser, info store.Info, err error) {
	err = p.do(false, func() (err error) { r, info, err = p.memory.Get(ctx, key); return err })
	return r, info, err
}

func (p *process) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) (etag string, err error) {
	err = p.do(false, func() (err error) { etag, err = p.memory.Put(ctx, key, r, size); return err })
	return etag, err
}

func (p *process) PutIf(ctx context.Context, key string, data []byte, ifMatch string) (etag string, err error) {
	data = slices.Clone(data)
	err = p.do(true, func() (err error) { etag, err = p.memory.PutIf(ctx, key, data, ifMatch); return err })
	return etag, err
}

func (p *process) List(ctx context.Context, prefix string) (infos []store.Info, err error) {
	err = p.do(false, func() (err error) {
		then := p.memory
		if w := p.world; w.faults {
			if ago := rapid.IntRange(-20, len(w.past)).Draw(w.t, "listing behind by"); ago > 0 {
				then = w.past[len(w.past)-ago]
			}
		}
		infos, err = then.List(ctx, prefix)
		return err
	})
	return infos, err
}

func (p *process) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys { // one by one: a process can die between two
		if err := p.do(false, func() error { return p.memory.Delete(ctx, key) }); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) URI(key string) string { return "memory:///" + path.Clean(key) }

// quiet drops the log lines of a test.
func quiet(t *testing.T) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}
