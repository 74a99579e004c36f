package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/group"
	"github.com/resnet-operator/resnet-operator/trainer/libtorch"
)

const (
	maxNodes     = 64
	maxProcesses = 64 // on each node
)

// groupFlags say which processes train together.
type groupFlags struct {
	nodes, nodeRank, processes int
	nodeAddress                string
}

func (f *groupFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.processes, "processes", 1, "number of processes that share each batch, and the processors of this machine")
	flags.IntVar(&f.nodes, "nnodes", 1, "number of machines that share each batch; each runs this command, with its own --node-rank")
	flags.IntVar(&f.nodeRank, "node-rank", 0, "number of this machine, from 0, which tells of the training and saves it")
	flags.StringVar(&f.nodeAddress, "node-address", "", "IP address, and port, where the other machines reach this one (default that of its network, any port)")
}

// check sets the flags that are not given by the variables of contract, and checks all.
func (f *groupFlags) check(cmd *cobra.Command) error {
	for name, variable := range map[string]string{"processes": contract.EnvProcesses, "nnodes": contract.EnvNodes,
		"node-rank": contract.EnvNodeRank, "node-address": contract.EnvNodeAddress} {
		value, ok := os.LookupEnv(variable)
		if !ok || cmd.Flags().Changed(name) {
			continue
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return exit.Errorf(contract.ExitConfig, "%s: %w", variable, err)
		}
	}
	switch {
	case f.processes < 1 || f.processes > maxProcesses:
		return exit.Errorf(contract.ExitConfig, "--processes is %d: it must be from 1 to %d", f.processes, maxProcesses)
	case f.nodes < 1 || f.nodes > maxNodes:
		return exit.Errorf(contract.ExitConfig, "--nnodes is %d: it must be from 1 to %d", f.nodes, maxNodes)
	case f.nodeRank < 0 || f.nodeRank >= f.nodes:
		return exit.Errorf(contract.ExitConfig, "--node-rank is %d: with --nnodes %d it must be from 0 to %d", f.nodeRank,
			f.nodes, f.nodes-1)
	}
	return nil
}

// follow the job's number of processes, without flags with all of them on this machine. Errors: exit code 64 if flags and job differ.
func (f *groupFlags) follow(cmd *cobra.Command, spec v1.ResNetTrainingJobSpec) error {
	asks := "spec.distributed"
	if spec.Resources.GPUs > 1 {
		asks = "spec.resources.gpus, of each machine,"
	}
	given := cmd.Flags().Changed("nnodes") || cmd.Flags().Changed("processes")
	switch wanted := int(spec.Processes()); {
	case spec.Resources.GPUs > 0 && given && f.processes != int(spec.ProcessesPerPod()):
		return exit.Errorf(contract.ExitConfig, "spec.resources.gpus is %d, and --processes %d: there is one process for each GPU of a machine",
			spec.Resources.GPUs, f.processes)
	case spec.Distributed == nil && wanted == 1:
	case !given && wanted > maxProcesses:
		return exit.Errorf(contract.ExitConfig, "%s asks for %d processes, which are too many for one machine: "+
			"give it --nnodes and --processes", asks, wanted)
	case !given:
		f.processes = wanted
	case f.nodes*f.processes != wanted:
		return exit.Errorf(contract.ExitConfig, "%s asks for %d processes, and --nnodes %d with --processes %d "+
			"makes %d: their number decides the weights", asks, wanted, f.nodes, f.processes, f.nodes*f.processes)
	}
	return nil
}

// place of this process; nil if it is the only one.
func (f *groupFlags) place() *group.Place {
	if f.nodes*f.processes == 1 {
		return nil
	}
	return &group.Place{Rank: f.nodeRank * f.processes, Size: f.nodes * f.processes, PerNode: f.processes}
}

// address is where the other machines reach this one.
func (f *groupFlags) address() (netip.AddrPort, error) {
	if f.nodes == 1 {
		return netip.AddrPort{}, nil
	}
	if f.nodeAddress == "" {
		a, err := group.OwnAddress()
		return netip.AddrPortFrom(a, 0), err
	}
	a, err := netip.ParseAddrPort(f.nodeAddress)
	if addr, e := netip.ParseAddr(f.nodeAddress); e == nil {
		a, err = netip.AddrPortFrom(addr, 0), nil
	}
	if err != nil || a.Addr().IsUnspecified() {
		return a, exit.Errorf(contract.ExitConfig, "--node-address is %q: it must be an IP address, or one with a port, as "+
			"10.0.0.7:29400 or [fd00::7]:29400", f.nodeAddress)
	}
	return a, nil
}

// rankSettings is what the other processes of --processes read from standard input.
type rankSettings struct {
	Job      *v1.ResNetTrainingJob
	Attempt  int32
	CacheDir string
	Address  netip.AddrPort // of the node
}

// trainTogether trains in several processes. This one is the first of its machine and starts the others of it; they
// share its processors.
func trainTogether(ctx context.Context, f *groupFlags, job *v1.ResNetTrainingJob, opts trainer.Options) (
	_ *contract.Artifacts, err error) {
	if opts.Place = f.place(); opts.Place == nil {
		return trainer.Run(ctx, job, opts)
	}
	if opts.Place.Address, err = f.address(); err != nil {
		return nil, err
	}
	settings, err := json.Marshal(rankSettings{job, opts.Attempt, opts.CacheDir, opts.Place.Address})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("--processes: %w", err)
	}
	threads := max(1, libtorch.Threads()/f.processes)
	libtorch.SetThreads(threads)
	var gpus []string
	if job.Spec.Resources.GPUs > 0 {
		if gpus, err = group.LocalGPUs(f.processes); err != nil {
			return nil, err
		}
	}
	local, err := group.StartLocal(opts.Place, func(number int) *exec.Cmd {
		cmd := exec.Command(self, "train")
		cmd.Stdin, cmd.Stderr = bytes.NewReader(settings), os.Stderr
		cmd.Env = append(os.Environ(), fmt.Sprintf("OMP_NUM_THREADS=%d", threads))
		if gpus != nil {
			cmd.Env = append(cmd.Env, gpus[number])
		}
		return cmd
	})
	if err != nil {
		return nil, fmt.Errorf("--processes: %w", err)
	}
	artifacts, err := trainer.Run(ctx, job, opts)
	return artifacts, local.Wait(err)
}

// trainRank trains as one of the processes that trainTogether has started. Its errors are told by rank 0.
func trainRank(ctx context.Context, place *group.Place) error {
	var s rankSettings
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return err
	}
	place.Address = s.Address
	handler := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})
	_, err := trainer.Run(ctx, s.Job, trainer.Options{Attempt: s.Attempt, CacheDir: s.CacheDir, Handler: handler,
		Place: place})
	return err
}
