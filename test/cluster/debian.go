package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
)

// base is a release of Debian, and the Dockerfile's base images of it. Where a registry can be reached they come from there; here
// they are made from the Debian archive that this host itself uses, so that one Dockerfile serves both.
type base struct {
	release        string // its code name
	arch           string // of the images to be built on it
	debian, golang string // as the Dockerfile has them, but for the architecture: golang is of this machine's
}

var baseImages = regexp.MustCompile(`(?m)^ARG GOLANG=(golang:\S+-)(\w+)\nARG DEBIAN=debian:(\w+)-slim$`)

// baseOf are the bases that the Dockerfile names for images of an architecture, and of another release if one is given.
func baseOf(dockerfile, release, arch string) (*base, error) {
	m := baseImages.FindStringSubmatch(dockerfile)
	if m == nil || m[2] != m[3] {
		return nil, errors.New("the Dockerfile's bases are not of one release of Debian: want ARG GOLANG=golang:VERSION-RELEASE, " +
			"and on the next line ARG DEBIAN=debian:RELEASE-slim")
	}
	if release == "" {
		release = m[2]
	}
	b := &base{release: release, arch: arch, debian: "library/debian:" + release + "-slim", golang: "library/" + m[1] + release}
	if arch != runtime.GOARCH {
		b.debian = map[string]string{"amd64": "amd64", "arm64": "arm64v8"}[arch] + strings.TrimPrefix(b.debian, "library")
	}
	return b, nil
}

// arguments for the Dockerfile. Buildah of Debian 12 does not know the machine's own platform by itself.
func (b *base) arguments() []string {
	return []string{"--arch=" + b.arch, "--build-arg=TARGETARCH=" + b.arch, "--build-arg=BUILDPLATFORM=linux/" + runtime.GOARCH,
		"--build-arg=DEBIAN=" + containerdName(b.debian), "--build-arg=GOLANG=" + containerdName(b.golang)}
}

// emulation is where the kernel says that it starts programs of another architecture.
var emulation = map[string]string{
	"arm64": "/proc/sys/fs/binfmt_misc/qemu-aarch64",
	"amd64": "/proc/sys/fs/binfmt_misc/qemu-x86_64",
}

// canBuildFor says what is missing to make images of an architecture.
func canBuildFor(arch string) error {
	handler, ok := emulation[arch]
	switch {
	case !ok:
		return fmt.Errorf("images for %q: want amd64 or arm64", arch)
	case arch != runtime.GOARCH && !exists(handler):
		return fmt.Errorf("images for %s need a machine that starts programs of it: run hack/packages.sh qemu-user-static, which tells "+
			"the kernel by %s", arch, filepath.Dir(handler))
	}
	return nil
}

var codename = regexp.MustCompile(`(?m)^VERSION_CODENAME="?(\w+)"?$`)

// hostRelease is that of this host, from the text of its os-release: what it compiled runs in images of the same release only.
func hostRelease(text string) (string, error) {
	m := codename.FindStringSubmatch(text)
	if m == nil || m[1] != "bookworm" && m[1] != "trixie" {
		return "", errors.New("local images are made on Debian 12 or 13 only: build them with docker")
	}
	return m[1], nil
}

// golangDockerfile lacks Go itself: the host's is bound over /usr/local/go whenever an image is built, and so are the
// host's caches, which the environment points to (images.go).
func (b *base) golangDockerfile() string {
	return `FROM ` + containerdName(b.debian) + `
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates g++ libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
ENV GOPATH=/go GOMODCACHE=/host/mod GOCACHE=/host/build GOTOOLCHAIN=local
ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /go
`
}

func (c *cluster) debianBase(b *base) error {
	if c.hasImage(containerdName(b.debian)) {
		return nil
	}
	defer c.step("make " + strings.TrimPrefix(b.debian, "library/") + " from the Debian archive")()
	return c.makeDebian(b)
}

func (c *cluster) golangBase(b *base) error {
	own := *b
	own.arch = runtime.GOARCH
	own.debian = "library/debian:" + b.release + "-slim"
	for _, each := range []*base{b, &own} {
		if err := c.debianBase(each); err != nil {
			return err
		}
	}
	dockerfile, text := c.cache("golang", "Dockerfile"), own.golangDockerfile()
	if old, err := os.ReadFile(dockerfile); err == nil && string(old) == text && c.hasImage(containerdName(b.golang)) {
		return nil
	}
	done := c.step("make " + strings.TrimPrefix(b.golang, "library/") + " with this machine's Go")
	if err := writeFile(dockerfile, text); err != nil {
		return err
	}
	if err := c.buildahBuild(&own, filepath.Dir(dockerfile), "--tag="+containerdName(b.golang)); err != nil {
		return err
	}
	done()
	return nil
}

// slimming is what makes the image slim, as in Docker's: no manuals, documents and translations, now and after later
// installations; copyright notices stay. What a build installs, it need not save from a loss of power, either.
const slimming = `force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
`

func (c *cluster) makeDebian(b *base) error {
	sources, err := aptSources(b.release)
	if err != nil {
		return err
	}
	root, archive := c.cache("debian"), c.cache("debian.tar")
	defer os.RemoveAll(root)
	defer os.Remove(archive)
	os.RemoveAll(root)
	cmd := exec.Command("debootstrap", "--variant=minbase", "--arch="+b.arch, b.release, root, sources[0].uri)
	// debootstrap mounts /proc and more; in a mount namespace of its own that cannot stay behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("debootstrap: %w\n%s", err, lastLines(string(out), 15))
	}
	if err := writeFile(filepath.Join(root, "etc/dpkg/dpkg.cfg.d/slim"), slimming); err != nil {
		return err
	}
	for _, script := range []string{
		"cd '" + root + "' && find usr/share/doc -type f ! -name copyright -delete && find usr/share/doc -depth -type d -empty -delete" +
			" && rm -rf usr/share/info/* usr/share/locale/* usr/share/man/* var/cache/apt/* var/lib/apt/lists/* var/log/*",
		"tar --numeric-owner -C '" + root + "' -cf '" + archive + "' .",
	} {
		if err := run("sh", "-c", script); err != nil {
			return err
		}
	}
	return c.commitArchive(archive, containerdName(b.debian), b.arch)
}

// commitArchive makes an image of one layer.
func (c *cluster) commitArchive(archive, image, arch string) error {
	id, err := c.buildahOutput("from", "scratch")
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	defer c.buildah("rm", id)
	if err := c.buildah("add", "--quiet", id, archive, "/"); err != nil {
		return err
	}
	if err := c.buildah("config", "--arch="+arch, "--cmd=bash", "--env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", id); err != nil {
		return err
	}
	return c.buildah("commit", "--quiet", "--format=docker", id, image)
}

// aptSource is one suite of the Debian archive.
type aptSource struct{ uri, suite, component string }

// aptSources asks apt for the places that this host installs its own packages from, the main one first, and returns those of a
// release there.
func aptSources(release string) ([]aptSource, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, err
	}
	host, err := hostRelease(string(text))
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("apt-get", "indextargets",
		"--format", "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get indextargets: %w", err)
	}
	sources := parseSources(string(out), host, release)
	if len(sources) == 0 || sources[0].suite != release {
		return nil, errors.New("this host's apt knows no Debian " + host + ": run `apt-get update`, or build the images with docker")
	}
	return sources, nil
}

// parseSources keeps Debian's own suites of the host's release from lines ORIGIN URI SUITE COMPONENT, for another release.
func parseSources(lines, host, release string) []aptSource {
	var sources []aptSource
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != "Debian" || f[3] != "main" || !strings.HasPrefix(f[2], host) {
			continue
		}
		source := aptSource{uri: f[1], suite: release + strings.TrimPrefix(f[2], host), component: f[3]}
		if source.suite == release {
			sources = append([]aptSource{source}, sources...)
		} else {
			sources = append(sources, source)
		}
	}
	return sources
}

// aptVolumes binds this host's way to the archive into a build, mirror, proxy and all, so that none of it becomes
// part of an image.
func (c *cluster) aptVolumes(b *base) ([]string, error) {
	sources, err := aptSources(b.release)
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&list, "deb %s %s %s\n", s.uri, s.suite, s.component)
	}
	if err := writeFile(c.cache("apt", "sources.list"), list.String()); err != nil {
		return nil, err
	}
	out, err := exec.Command("apt-config", "dump", "--no-empty").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-config dump: %w", err)
	}
	if err := writeFile(c.cache("apt", "host.conf"), transport(string(out))); err != nil {
		return nil, err
	}
	return []string{
		"--volume=" + c.cache("apt", "sources.list") + ":/etc/apt/sources.list:ro",
		"--volume=" + c.cache("apt", "host.conf") + ":/etc/apt/apt.conf.d/99host:ro",
	}, nil
}

// transport picks the settings that say how to reach an archive and how far to trust its dates.
func transport(dump string) string {
	var out strings.Builder
	for line := range strings.Lines(dump) {
		for _, prefix := range []string{"Acquire::http", "Acquire::Check-", "Acquire::Retries"} {
			if strings.HasPrefix(line, prefix) {
				out.WriteString(line)
			}
		}
	}
	return out.String()
}
