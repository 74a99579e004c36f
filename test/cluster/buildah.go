package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// buildah runs the daemonless image builder on a storage of its own, and in a mount namespace of its own, so that not
// even an interrupted build leaves a mount on the host.
func (c *cluster) buildah(args ...string) error {
	_, err := c.buildahOutput(args...)
	return err
}

func (c *cluster) buildahOutput(args ...string) (string, error) {
	if err := c.checkBuilder(); err != nil {
		return "", err
	}
	log, err := os.OpenFile(c.cache("build.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer log.Close()
	fmt.Fprintf(log, "\n# buildah %q\n", args)
	cmd := exec.Command("buildah", append([]string{
		"--root=" + c.cache("buildah"),
		"--runroot=" + c.cache("buildah-run"),
		"--storage-driver=" + storageDriver(c.dir),
	}, args...)...)
	cmd.Stderr = log
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot", "TMPDIR="+c.cache("tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.Output()
	log.Write(out)
	if err != nil {
		return "", fmt.Errorf("buildah %s: %w; see the end of %s:\n%s", args[0], err, log.Name(), tail(log.Name(), 25))
	}
	return string(out), nil
}

func (c *cluster) checkBuilder() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("building images without a container engine needs root: use sudo, or docker build")
	}
	addSystemPath()
	for _, name := range []string{"buildah", "debootstrap", "tar"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is missing: run hack/packages.sh", name)
		}
	}
	return os.MkdirAll(c.cache("tmp"), 0o755)
}

// buildahBuild builds a Dockerfile with layer caching, from local base images only.
func (c *cluster) buildahBuild(b *base, context string, args ...string) error {
	apt, err := c.aptVolumes(b)
	if err != nil {
		return err
	}
	all := slices.Concat([]string{"build", "--layers", "--pull-never", "--format=docker"}, limits(), b.arguments(), apt, args)
	return c.buildah(append(all, context)...)
}

// limits are those of this process, and of processes the number that buildah of Debian 12 has set by then, if that is less: from
// Debian 13 on buildah would raise them, which not every root may.
func limits() []string {
	const nproc, mostProcesses = 6, 32768 // RLIMIT_NPROC
	var flags []string
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		flags = append(flags, fmt.Sprintf("--ulimit=nofile=%d:%d", int64(l.Cur), int64(l.Max))) // -1 is no limit
	}
	if syscall.Getrlimit(nproc, &l) == nil {
		n := min(l.Cur, l.Max, mostProcesses)
		flags = append(flags, fmt.Sprintf("--ulimit=nproc=%d:%d", n, n))
	}
	return flags
}

func (c *cluster) hasImage(name string) bool {
	_, err := c.buildahOutput("inspect", "--type=image", name)
	return err == nil
}

// buildahTraces are what buildah makes outside of its storage, whatever one tells it.
var buildahTraces = []string{
	"/etc/cni/net.d/cni.lock", "/etc/cni/net.d", "/etc/cni",
	"/var/lib/containers/cache/blob-info-cache-v1.boltdb", "/var/lib/containers/cache", "/var/lib/containers",
}

// tidyBuildah notes which of the traces were there before; the function that it returns removes the others. Folders
// that are in use by then are not empty, and stay.
func tidyBuildah() (tidy func()) {
	ours := slices.DeleteFunc(slices.Clone(buildahTraces), exists)
	return func() {
		for _, path := range ours {
			os.Remove(path)
		}
	}
}

// storageDriver is overlay wherever the kernel can; vfs copies every layer.
func storageDriver(dir string) string {
	if snapshotter(dir) == "native" {
		return "vfs"
	}
	return "overlay"
}

// removeCache removes what `down` keeps.
func (c *cluster) removeCache() error { return os.RemoveAll(c.cache()) }
