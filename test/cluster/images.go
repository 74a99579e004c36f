package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// targets are the stages of the repository's Dockerfile that become images resnet-operator/TARGET:dev.
var targets = []string{"manager", "trainer"}

// buildImages builds the named targets, or all, and puts those that changed into the cluster, if it runs.
func (c *cluster) buildImages(names []string) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	defer tidyBuildah()()
	if len(names) == 0 {
		names = targets
	}
	sum, err := contextDigest(c.repo)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(targets, name) {
			return fmt.Errorf("no image %q: there are %s", name, strings.Join(targets, " and "))
		}
		if err := c.buildImage(name, sum); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	return nil
}

// buildImage builds one image, unless it was built from the context of this sum.
func (c *cluster) buildImage(name, sum string) error {
	image, archive, stamp := imageName(name), c.imageTar(name), c.cache("built", "image-"+name)
	if old, err := os.ReadFile(stamp); err == nil && string(old) == sum && exists(archive) {
		fmt.Printf("  %s is up to date\n", image)
		return nil
	}
	if err := checkDisk(c.dir, 8); err != nil {
		return err
	}
	if err := c.baseImages(); err != nil {
		return err
	}
	volumes, err := c.goVolumes()
	if err != nil {
		return err
	}
	done := c.step("build " + image)
	args := append(volumes, "--target="+name, "--tag="+containerdName(image), "--file="+filepath.Join(c.repo, "Dockerfile"))
	if commit := c.commit(); commit != "" {
		args = append(args, "--build-arg=COMMIT="+commit)
	}
	if err := c.buildahBuild(c.repo, args...); err != nil {
		return err
	}
	done()
	done = c.step("save it")
	if err := c.save(image, archive); err != nil {
		return err
	}
	done()
	if err := c.printSize(archive); err != nil {
		return err
	}
	if c.alive() {
		done = c.step("load it")
		if err := c.importImage(archive); err != nil {
			return err
		}
		done()
	}
	return writeFile(stamp, sum)
}

// commit of the repository, with "-dirty" behind it if the tree differs; "" outside of one.
func (c *cluster) commit() string {
	out, _ := exec.Command("git", "-C", c.repo, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*").Output()
	return strings.TrimSpace(string(out))
}

func imageName(target string) string { return "resnet-operator/" + target + ":dev" }

// save writes the archive. Beside and renamed, so that a reader never sees half of one.
func (c *cluster) save(image, archive string) error {
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return err
	}
	os.Remove(archive + ".new") // it would be appended to
	if err := c.buildah("push", "--quiet", containerdName(image), "docker-archive:"+archive+".new:"+image); err != nil {
		return err
	}
	return os.Rename(archive+".new", archive)
}

// archives builds the images and writes each into the folder as an OCI archive TARGET-VERSION-linux-ARCH.tar, in which it is
// called IMAGES/TARGET:VERSION.
func (c *cluster) archives(folders []string, images, version string) error {
	if len(folders) != 1 {
		return fmt.Errorf("archives: got %d folders, want one", len(folders))
	}
	if err := c.buildImages(nil); err != nil {
		return err
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	defer tidyBuildah()()
	for _, target := range targets {
		archive := filepath.Join(folders[0], fmt.Sprintf("%s-%s-linux-%s.tar", target, version, runtime.GOARCH))
		os.Remove(archive) // it would be appended to
		to := fmt.Sprintf("oci-archive:%s:%s/%s:%s", archive, images, target, version)
		if err := c.buildah("push", "--quiet", "--format=oci", containerdName(imageName(target)), to); err != nil {
			return err
		}
		if err := c.printSize(archive); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) printSize(archive string) error {
	info, err := os.Stat(archive)
	if err == nil {
		fmt.Printf("  %s: %d MB\n", archive, info.Size()/1e6)
	}
	return err
}

// goVolumes binds this machine's Go and its caches into the build, which then compiles only what this machine has not
// compiled before, and adds to the caches what it compiles itself.
func (c *cluster) goVolumes() ([]string, error) {
	// The build cannot count on a module proxy: fetch here what is missing.
	fetch := exec.Command("go", "list", "-deps", "./cmd/...")
	fetch.Dir = c.repo
	if out, err := fetch.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, lastLines(string(out), 10))
	}
	var flags []string
	for _, bind := range []struct{ variable, target string }{
		{"GOROOT", "/usr/local/go"},
		{"GOMODCACHE", "/host/mod"},
		{"GOCACHE", "/host/build"},
	} {
		out, err := exec.Command("go", "env", bind.variable).Output()
		if err != nil {
			return nil, fmt.Errorf("go env %s: %w", bind.variable, err)
		}
		dir := strings.TrimSpace(string(out))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		flags = append(flags, "--volume="+dir+":"+bind.target)
	}
	return flags, nil
}

// contextDigest covers all that a build can see: the Dockerfile, and every file that .dockerignore lets through: of its
// patterns, plain names at the top and the one for tests are understood here.
func contextDigest(repo string) (string, error) {
	ignored, err := os.ReadFile(filepath.Join(repo, ".dockerignore"))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	skip := strings.Fields(string(ignored))
	for _, name := range []string{"Dockerfile", ".dockerignore"} {
		if err := hashFile(hash, repo, name); err != nil {
			return "", err
		}
	}
	err = filepath.WalkDir(repo, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repo, path)
		if err != nil {
			return err
		}
		if slices.Contains(skip, name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		return hashFile(hash, repo, name)
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

func hashFile(w io.Writer, dir, name string) error {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s %d\n", name, len(text))
	_, err = w.Write(text)
	return err
}
