package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// down stops the cluster. What is expensive to make again stays, unless all is set.
func (c *cluster) down(all bool) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if os.Geteuid() != 0 {
		return errors.New("root is needed to stop the cluster: use sudo")
	}
	addSystemPath()
	was := c.alive()
	if err := c.clear(); err != nil {
		return err
	}
	if was {
		fmt.Println("cluster is down")
	} else {
		fmt.Println("cluster was not running")
	}
	if !all {
		return nil
	}
	for _, path := range []string{c.bin(""), filepath.Join(c.dir, "images"), filepath.Join(c.dir, "lock")} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return c.removeCache()
}

// status succeeds if the cluster is healthy.
func (c *cluster) status() error {
	if !c.alive() {
		return errors.New("cluster is down")
	}
	if err := c.healthy(); err != nil {
		return err
	}
	fmt.Println("cluster is up")
	c.describe()
	return nil
}

func (c *cluster) describe() {
	fmt.Printf("  export KUBECONFIG=%s PATH=%s:$PATH\n", c.kubeconfig(), filepath.Clean(c.bin("")))
	fmt.Printf("  S3 from the host http://%s:30900, from pods http://minio.minio:9000; access key resnet-demo, secret key resnet-demo-secret\n", nodeIP)
}

// load imports image archives; without names, all that were built.
func (c *cluster) load(files []string) error {
	if !c.alive() {
		return errors.New("cluster is down: start it with `cluster up`")
	}
	if len(files) == 0 {
		files = append(c.ownArchives(), c.otherArchives()...)
	}
	return c.importImages(files)
}

func (c *cluster) importImages(files []string) error {
	for _, file := range files {
		if err := c.importImage(file); err != nil {
			return err
		}
	}
	return nil
}

// importImage hands an archive to the node's containerd, through the node's own view of the file system.
func (c *cluster) importImage(file string) error {
	socket := fmt.Sprintf("/proc/%d/root%s", c.pid(), criSocket)
	if err := waitFor(time.Minute, func() error { return run("ctr", "--address", socket, "version") }); err != nil {
		return fmt.Errorf("containerd does not answer: %w", err)
	}
	if err := run("ctr", "--address", socket, "--namespace=k8s.io", "images", "import", "--snapshotter="+snapshotter(c.dir), file); err != nil {
		return fmt.Errorf("load %s: %w", file, err)
	}
	return nil
}

// printLog prints one log, or says which there are.
func (c *cluster) printLog(name string) error {
	if name == "" {
		files, err := filepath.Glob(c.logFile("*"))
		for _, file := range files {
			fmt.Println(strings.TrimSuffix(filepath.Base(file), ".log"))
		}
		return err
	}
	file, err := os.Open(c.logFile(name))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(os.Stdout, file)
	return err
}

// addSystemPath finds the administrator's programs even where a user's PATH lacks them.
func addSystemPath() { os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin") }
