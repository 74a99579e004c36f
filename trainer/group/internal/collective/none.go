//go:build nogloo && !cuda

// Package collective is empty: PyPI's libtorch comes without the headers of Gloo.
package collective

import (
	"errors"
	"time"
	"unsafe"
)

// Available says whether groups can be made.
const Available = false

// OnGPU says whether they compute on GPUs.
const OnGPU = false

var errNone = errors.New("this trainer was built without Gloo")

type Group struct{}

func New(Store, int, int, string, time.Duration) (*Group, error) { return nil, errNone }

func (*Group) Sum([]unsafe.Pointer) error { return errNone }
func (*Group) SumFloat64([]float64) error { return errNone }
func (*Group) GiveUp()                    {}
func (*Group) Close()                     {}

type Mean struct{}

func NewMean(_, _ []unsafe.Pointer, _ bool) (*Mean, error) { return nil, errNone }

func (*Mean) Do(*Group, unsafe.Pointer, int, int, bool) (bool, error) { return false, errNone }
