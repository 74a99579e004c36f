package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/newjob"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

const initHelp = `Make a job of a folder of images: look at them, split them if they are not, choose the stem and size, and write a
commented manifest, which ` + "`trainer train`" + ` takes as it is.

` + newjob.Layouts + `

What is not given by a flag is asked on a terminal. The data stay where they are, unless they have to be split: then
they are packed into <name>.tar beside the manifest. --data uploads them to a bucket, for a cluster.`

func initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a job of a folder of images",
		Long:  initHelp,
		Example: `  trainer init photos/flowers
  trainer init photos/flowers --storage s3://models --data s3://datasets/flowers.tar --endpoint http://localhost:9000`,
	}
	newjob.Program{
		In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr, Next: "trainer train -f %s", Local: true,
		Open: func(ctx context.Context, uri string, s3 *v1.S3Spec) (store.Store, func(), error) {
			st, err := store.Open(ctx, uri, s3)
			return st, func() {}, err
		},
	}.AddTo(cmd)
	return cmd
}
