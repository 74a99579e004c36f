package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/resnet-operator/resnet-operator/api/contract"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

const validateHelp = `Validate a ResNetTrainingJob as the API server would, without one, and without its data: unknown fields, wrong values,
and fields that do not fit each other. --output yaml prints the job with the defaults of this release.`

func validateCommand() *cobra.Command {
	var job jobFlags
	var output string
	cmd := &cobra.Command{
		Use:   "validate -f job.yaml",
		Short: "Validate a job, and show its defaults",
		Long:  validateHelp,
		Example: `  trainer validate -f job.yaml
  trainer validate -f job.yaml --set training.optimizer.type=SGD --output yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "name" && output != "yaml" {
				return exit.Errorf(contract.ExitConfig, "--output is %q: use name or yaml", output)
			}
			spec, err := job.load()
			if err != nil {
				return err
			}
			if output == "name" {
				fmt.Fprintf(cmd.OutOrStdout(), "%s/%s is valid\n", spec.Namespace, spec.Name)
				return nil
			}
			spec.UID = ""
			text, err := yaml.Marshal(spec)
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return err
		},
	}
	job.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "name", "name or yaml")
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"name", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
