package group

import (
	"bytes"
	"encoding/binary"
	"encoding/json"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

// Fact is something that must be the same in all processes.
type Fact struct {
	Name  string // as "the precision"
	Value string
}

// Same compares facts, which all processes give in the same order. facts is not called on a process of its own.
//
// Errors: with this exit code, in all processes, naming the first rank and fact that differ from those of rank 0.
func (g *Group) Same(code contract.ExitCode, facts func() ([]Fact, error)) error {
	if g == nil {
		return nil
	}
	own, err := facts()
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(own)
	if err != nil {
		return err
	}
	all, err := g.gather(encoded)
	if err != nil {
		return err
	}
	if err := g.compare(code, all); err != nil {
		_ = g.Meet() // the end of a process takes those along that do not have all facts yet
		return err
	}
	return nil
}

// compare compares the facts of all processes, in JSON, by their ranks.
func (g *Group) compare(code contract.ExitCode, all [][]byte) error {
	var first []Fact
	for rank, encoded := range all {
		var these []Fact
		if err := json.Unmarshal(encoded, &these); err != nil || rank > 0 && len(these) != len(first) {
			return exit.Errorf(code, "%s is of another version of the trainer than rank 0", g.place.name(rank))
		}
		if rank == 0 {
			first = these
		}
		for i, f := range these {
			if f != first[i] {
				return exit.Errorf(code, "%s differs from rank 0 in %s: %s, there %s; all processes of a training must be "+
					"alike", g.place.name(rank), f.Name, f.Value, first[i].Value)
			}
		}
	}
	return nil
}

// Share makes *value that of rank 0 in all processes. It goes through JSON.
func Share[T any](g *Group, value *T) error {
	if g == nil {
		return nil
	}
	var encoded []byte
	if g.Rank() == 0 {
		var err error
		if encoded, err = json.Marshal(value); err != nil {
			return err
		}
	}
	encoded, err := g.Share(encoded)
	if err != nil || g.Rank() == 0 {
		return err
	}
	return json.Unmarshal(encoded, value)
}

// Share returns what rank 0 gave to it.
func (g *Group) Share(content []byte) ([]byte, error) {
	if g == nil {
		return content, nil
	}
	if g.Rank() > 0 {
		content = nil
	}
	all, err := g.gather(content)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// word is what is summed at once, in bytes: an int64.
const word = 8

// gather returns the contents of all processes, by their ranks. It is a sum to which each process adds zeros where the
// others have their content.
func (g *Group) gather(content []byte) ([][]byte, error) {
	sizes := make([]byte, word*g.Size())
	binary.LittleEndian.PutUint64(sizes[word*g.Rank():], uint64(len(content)))
	sizes, err := g.sumBytes(sizes)
	if err != nil {
		return nil, err
	}
	var whole bytes.Buffer
	begin, end := make([]int, g.Size()), make([]int, g.Size())
	for rank := range g.Size() {
		n := int(binary.LittleEndian.Uint64(sizes[word*rank:]))
		begin[rank] = whole.Len()
		if rank == g.Rank() {
			whole.Write(content)
		} else {
			whole.Write(make([]byte, n))
		}
		end[rank] = whole.Len()
		whole.Write(make([]byte, (word-n%word)%word))
	}
	sum, err := g.sumBytes(whole.Bytes())
	if err != nil {
		return nil, err
	}
	all := make([][]byte, g.Size())
	for rank := range all {
		all[rank] = sum[begin[rank]:end[rank]]
	}
	return all, nil
}

// sumBytes sums bytes where at most one process has others than 0.
func (g *Group) sumBytes(b []byte) (sum []byte, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	err = libtorch.Do(func(s *libtorch.Scope) {
		t := s.Zeros([]int64{int64(len(b) / word)}, libtorch.Int64, libtorch.CPU)
		if s.Err() != nil {
			return
		}
		if err := libtorch.SetBytes(t, b); err != nil {
			s.Fail(err)
			return
		}
		if err := g.Sum(t); err != nil {
			s.Fail(err)
			return
		}
		var err error
		sum, err = libtorch.Bytes(t)
		s.Fail(err)
	})
	return sum, err
}
