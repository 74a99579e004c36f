package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

// serveFolderCommand is for the pod by which `kubectl resnet` reads a volume: it listens on the loopback device only, where
// a port-forward ends.
func serveFolderCommand() *cobra.Command {
	address := ""
	cmd := &cobra.Command{
		Use:    "serve-folder DIR",
		Short:  "Serve the files below a folder on the loopback device, for reading",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, err := os.OpenRoot(args[0])
			if err != nil {
				return exit.Errorf(contract.ExitConfig, "%w", err)
			}
			defer root.Close()
			host, _, err := net.SplitHostPort(address)
			if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
				return exit.Errorf(contract.ExitConfig, "--address is %q: it must be of the loopback device, as 127.0.0.1:8080", address)
			}
			listener, err := net.Listen("tcp", address)
			if err != nil {
				return exit.Errorf(contract.ExitConfig, "--address: %w", err)
			}
			server := &http.Server{Handler: store.Handler(root), ReadHeaderTimeout: 10 * time.Second}
			defer context.AfterFunc(cmd.Context(), func() { server.Close() })()
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "address", fmt.Sprintf("127.0.0.1:%d", contract.Port), "address to listen on")
	return cmd
}
