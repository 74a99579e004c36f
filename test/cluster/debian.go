package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// The Dockerfile's base images. Where a registry can be reached they come from there; here they are made from the
// Debian archive that this host itself uses, so that one Dockerfile serves both.
const (
	debianRelease = "bookworm"
	debianImage   = "docker.io/library/debian:bookworm-slim"
	golangImage   = "docker.io/library/golang:1.26-bookworm"
)

// golangDockerfile lacks Go itself: the host's is bound over /usr/local/go whenever an image is built, and so are the
// host's caches, which the environment points to (images.go).
const golangDockerfile = `FROM ` + debianImage + `
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates g++ libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
ENV GOPATH=/go GOMODCACHE=/host/mod GOCACHE=/host/build GOTOOLCHAIN=local
ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /go
`

func (c *cluster) debianBase() error {
	if c.hasImage(debianImage) {
		return nil
	}
	defer c.step("make debian:bookworm-slim from the Debian archive")()
	return c.makeDebian()
}

func (c *cluster) baseImages() error {
	if err := c.debianBase(); err != nil {
		return err
	}
	dockerfile := c.cache("golang", "Dockerfile")
	if old, err := os.ReadFile(dockerfile); err == nil && string(old) == golangDockerfile && c.hasImage(golangImage) {
		return nil
	}
	done := c.step("make golang:1.26-bookworm with this machine's Go")
	if err := writeFile(dockerfile, golangDockerfile); err != nil {
		return err
	}
	if err := c.buildahBuild(filepath.Dir(dockerfile), "--tag="+golangImage); err != nil {
		return err
	}
	done()
	return nil
}

// slimming is what makes the image slim, as in Docker's: no manuals, documents and translations, now and after later
// installations; copyright notices stay.
const slimming = `path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
`

func (c *cluster) makeDebian() error {
	sources, err := aptSources()
	if err != nil {
		return err
	}
	root, archive := c.cache("debian"), c.cache("debian.tar")
	defer os.RemoveAll(root)
	defer os.Remove(archive)
	os.RemoveAll(root)
	cmd := exec.Command("debootstrap", "--variant=minbase", debianRelease, root, sources[0].uri)
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
	return c.commitArchive(archive, debianImage)
}

// commitArchive makes an image of one layer.
func (c *cluster) commitArchive(archive, image string) error {
	id, err := c.buildahOutput("from", "scratch")
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	defer c.buildah("rm", id)
	if err := c.buildah("add", "--quiet", id, archive, "/"); err != nil {
		return err
	}
	if err := c.buildah("config", "--cmd=bash", "--env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", id); err != nil {
		return err
	}
	return c.buildah("commit", "--quiet", "--format=docker", id, image)
}

// aptSource is one suite of the Debian archive.
type aptSource struct{ uri, suite, component string }

// aptSources asks apt for the places that this host installs the release's own packages from, the main one first.
func aptSources() ([]aptSource, error) {
	out, err := exec.Command("apt-get", "indextargets",
		"--format", "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get indextargets: %w", err)
	}
	sources := parseSources(string(out), debianRelease)
	if len(sources) == 0 || sources[0].suite != debianRelease {
		return nil, errors.New("this host's apt knows no Debian " + debianRelease +
			": run `apt-get update` if it is Debian 12, or build the images with docker")
	}
	return sources, nil
}

// parseSources keeps Debian's own suites of the release from lines ORIGIN URI SUITE COMPONENT.
func parseSources(lines, release string) []aptSource {
	var sources []aptSource
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != "Debian" || f[3] != "main" || !strings.HasPrefix(f[2], release) {
			continue
		}
		source := aptSource{uri: f[1], suite: f[2], component: f[3]}
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
func (c *cluster) aptVolumes() ([]string, error) {
	sources, err := aptSources()
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
