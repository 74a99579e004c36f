package report

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/resnet-operator/resnet-operator/trainer/checkpoint"
)

// Events is a TensorBoard event file: a TFRecord file of tensorflow.Event messages. Sources: tensorflow/core/lib/io/
// record_writer.h and tensorflow/core/util/event.proto.
type Events struct{ data []byte }

// Numbers of the fields in event.proto and summary.proto.
const (
	eventWallTime    protowire.Number = 1
	eventStep        protowire.Number = 2
	eventFileVersion protowire.Number = 3
	eventSummary     protowire.Number = 5
	summaryValue     protowire.Number = 1
	valueTag         protowire.Number = 1
	valueSimple      protowire.Number = 2
)

// NewEvents begins a file.
func NewEvents(at time.Time) *Events {
	e := &Events{}
	event := appendWallTime(nil, at)
	event = protowire.AppendTag(event, eventFileVersion, protowire.BytesType)
	e.record(protowire.AppendString(event, "brain.Event:2"))
	return e
}

// Bytes is the file so far. It is only ever appended to.
func (e *Events) Bytes() []byte { return e.data }

// Scalar adds a point to the curve tag. TensorBoard groups curves by what is before the slash. What is not finite is
// left out.
func (e *Events) Scalar(tag string, step int64, at time.Time, v float64) {
	if !isFinite(v) {
		return
	}
	value := protowire.AppendTag(nil, valueTag, protowire.BytesType)
	value = protowire.AppendString(value, tag)
	value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
	value = protowire.AppendFixed32(value, math.Float32bits(float32(v)))
	summary := protowire.AppendTag(nil, summaryValue, protowire.BytesType)
	summary = protowire.AppendBytes(summary, value)
	event := appendWallTime(nil, at)
	event = protowire.AppendTag(event, eventStep, protowire.VarintType)
	event = protowire.AppendVarint(event, uint64(step))
	event = protowire.AppendTag(event, eventSummary, protowire.BytesType)
	e.record(protowire.AppendBytes(event, summary))
}

// Epoch adds an epoch's record; the steps of these curves are epochs.
func (e *Events) Epoch(m checkpoint.EpochMetrics, at time.Time) {
	for tag, v := range Scalars(m) {
		e.Scalar(tag, int64(m.Epoch), at, v)
	}
}

// Scalars are the numbers of an epoch by the names of their curves.
func Scalars(m checkpoint.EpochMetrics) iter.Seq2[string, float64] {
	all := []struct {
		tag   string
		value *float64
	}{
		{"loss/train", &m.TrainLoss},
		{"loss/test", m.TestLoss},
		{"loss/validation", m.ValidationLoss},
		{"loss/validation_int8", m.ValidationInt8Loss},
		{"accuracy/test", m.Accuracy},
		{"accuracy/test_int8", m.Int8Accuracy},
		{"accuracy/int8_agreement", m.Int8Agreement},
		{"accuracy/validation_int8", m.ValidationInt8Accuracy},
		{"accuracy/test_top5", m.Top5Accuracy},
		{"accuracy/test_flip_tta", m.FlipTTAAccuracy},
		{"accuracy/validation", m.ValidationAccuracy},
		{"optimizer/lr", &m.LR},
		{"optimizer/momentum", &m.Momentum},
		{"optimizer/grad_norm", &m.GradNorm},
		{"optimizer/loss_scale", m.LossScale},
		{"speed/images_per_second", &m.ImagesPerSecond},
		{"speed/data_wait", &m.DataWait},
		{"speed/epoch_seconds", &m.Seconds},
		{"speed/memory_bytes", new(float64(m.MemoryBytes))},
	}
	return func(yield func(string, float64) bool) {
		for _, c := range all {
			if c.value != nil && !yield(c.tag, *c.value) {
				return
			}
		}
	}
}

// History adds epochs that were done before; the last one ended at end.
func (e *Events) History(history []checkpoint.EpochMetrics, end time.Time) {
	at := end
	for _, m := range history {
		at = at.Add(-seconds(m.Seconds))
	}
	for _, m := range history {
		at = at.Add(seconds(m.Seconds))
		e.Epoch(m, at)
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func appendWallTime(b []byte, at time.Time) []byte {
	b = protowire.AppendTag(b, eventWallTime, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(float64(at.UnixMicro())/1e6))
}

// record appends a TFRecord: length, its checksum, data, its checksum.
func (e *Events) record(data []byte) {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	e.data = append(e.data, length...)
	e.data = binary.LittleEndian.AppendUint32(e.data, maskedCRC(length))
	e.data = append(e.data, data...)
	e.data = binary.LittleEndian.AppendUint32(e.data, maskedCRC(data))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func maskedCRC(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
