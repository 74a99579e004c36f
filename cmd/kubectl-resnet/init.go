package main

import (
	"context"

	"github.com/spf13/cobra"

	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/newjob"
	"github.com/resnet-operator/resnet-operator/trainer/store"
)

const initHelp = `Make a job of a folder of images: look at them, split them if they are not, pack them into one archive, upload it,
choose the stem and size, and write a commented manifest.

` + newjob.Layouts + `

What is not given by a flag is asked on a terminal. The upload uses the account and the way of all other commands.`

func newInit(p *plugin) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a job of a folder of images",
		Long:  initHelp,
		Example: `  kubectl resnet init photos/flowers
  kubectl resnet init photos/flowers --storage s3://models --data s3://datasets/flowers.tar \
    --endpoint http://minio.minio:9000 --secret s3-credentials`,
	}
	newjob.Program{
		In: p.In, Out: p.Out, ErrOut: p.ErrOut, Next: "kubectl resnet create -f %s --watch",
		Open: func(ctx context.Context, uri string, s3 *v1.S3Spec) (store.Store, func(), error) {
			c, err := p.connect()
			if err != nil {
				return nil, nil, err
			}
			return c.openStorage(ctx, c.namespace, uri, s3)
		},
	}.AddTo(cmd)
	return cmd
}
