// Command cluster runs a real single-node Kubernetes cluster on this machine, without a registry, a virtual machine
// or a container engine's daemon: see README.md.
//
// The program is both ends of it: on the host, `cluster up` prepares, starts and checks; inside the node's
// namespaces, the same executable is process 1 (the hidden command `node`) and keeps the components running.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

const usage = `cluster runs a real single-node Kubernetes cluster on this machine.

  cluster up                start it, or say that it runs already
  cluster down [--all]      stop it, and leave binaries and images; --all drops them too
  cluster status            is it healthy?
  cluster build             compile the components (up does this too)
  cluster images            make the manager and trainer images of bin/manager and bin/trainer
  cluster archives FOLDER   build them by the whole Dockerfile, and write them into the folder as OCI archives, of --arch, named as --images and --version say
  cluster load IMAGE.tar…   import images into the running cluster; without a name, all of them
  cluster logs [NAME]       print a component's log

Flags:
`

func main() {
	if len(os.Args) == 3 && os.Args[1] == nodeCommand {
		fail(runNode(os.Args[2]))
		return
	}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	dir := flags.String("dir", ".cluster", "the one directory that everything is written to")
	repo := flags.String("repo", ".", "root of the resnet-operator repository")
	all := flags.Bool("all", false, "down: remove caches as well")
	images := flags.String("images", "resnet-operator", "archives: registry and folder of the images")
	arch := flags.String("arch", runtime.GOARCH, "archives: architecture of the images, amd64 or arm64")
	version := flags.String("version", "dev", "archives: tag of the images")
	flags.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flags.PrintDefaults()
	}
	command, args := split(os.Args[1:])
	if err := flags.Parse(args); err != nil {
		os.Exit(2)
	}
	c, err := newCluster(*dir, *repo)
	fail(err)
	switch command {
	case "up":
		err = c.up()
	case "down":
		err = c.down(*all)
	case "status":
		err = c.status()
	case "build":
		err = c.build()
	case "images":
		err = c.buildImages(flags.Args())
	case "archives":
		err = c.archives(flags.Args(), *images, *version, *arch)
	case "load":
		err = c.load(flags.Args())
	case "logs":
		err = c.printLog(flags.Arg(0))
	default:
		flags.Usage()
		os.Exit(2)
	}
	fail(err)
}

// split takes the command from in front of the flags.
func split(args []string) (command string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// cluster is one cluster's place on disk. There is at most one running on a machine, for it has fixed addresses.
type cluster struct {
	dir  string // everything is written below here
	repo string // the source of the images
}

func newCluster(dir, repo string) (*cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	repo, err = filepath.Abs(repo)
	if err != nil {
		return nil, err
	}
	return &cluster{dir: dir, repo: repo}, os.MkdirAll(dir, 0o755)
}

// The layout of the directory. Only node, logs and kubeconfig belong to one run; the others outlive `down`.
func (c *cluster) bin(name string) string { return filepath.Join(c.dir, "bin", name) }
func (c *cluster) node(elem ...string) string {
	return filepath.Join(append([]string{c.dir, "node"}, elem...)...)
}
func (c *cluster) logFile(name string) string  { return filepath.Join(c.dir, "logs", name+".log") }
func (c *cluster) imageTar(name string) string { return filepath.Join(c.dir, "images", name+".tar") }
func (c *cluster) cache(elem ...string) string {
	return filepath.Join(append([]string{c.dir, "cache"}, elem...)...)
}
func (c *cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }
