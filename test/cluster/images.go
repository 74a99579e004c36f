package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// targets are the stages of the repository's Dockerfile that become images resnet-operator/TARGET:dev.
var targets = []string{"manager", "trainer"}

// buildImages makes the images of the named targets, or of all, and puts those that changed into the cluster, if it runs.
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
	for _, name := range names {
		if !slices.Contains(targets, name) {
			return fmt.Errorf("no image %q: there are %s", name, strings.Join(targets, " and "))
		}
		if err := c.localImage(name); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	return nil
}

// localImage makes an image from its last stage in the Dockerfile and what this host has in the place of the stages before:
// the programs that `make build` made, and libtorch of the same Debian packages, gathered by the same scripts. Nothing is
// compiled or installed a second time; all stages are built for a release (archives).
func (c *cluster) localImage(name string) error {
	image, archive, stamp, context := imageName(name), c.imageTar(name), c.cache("built", "image-"+name), c.cache("context", name)
	sum, err := localDigest(c.repo, name)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(stamp); err == nil && string(old) == sum && exists(archive) {
		fmt.Printf("  %s is up to date\n", image)
		return nil
	}
	if err := checkDisk(c.dir, 4); err != nil {
		return err
	}
	if err := c.checkBuilder(); err != nil {
		return err
	}
	b, err := c.hostBase()
	if err != nil {
		return err
	}
	if err := c.debianBase(b); err != nil {
		return err
	}
	done := c.step("build " + image)
	defer os.RemoveAll(context)
	os.RemoveAll(context)
	if err := stageOnHost(name, c.repo, context); err != nil {
		return err
	}
	if err := c.buildahBuild(b, context, "--tag="+containerdName(image), "--file="+filepath.Join(context, "Dockerfile")); err != nil {
		return err
	}
	done()
	if err := c.deliver(image, archive); err != nil {
		return err
	}
	return writeFile(stamp, sum)
}

// hostBase are the bases of local images: of this host's release, whatever the Dockerfile says.
func (c *cluster) hostBase() (*base, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, err
	}
	release, err := hostRelease(string(text))
	if err != nil {
		return nil, err
	}
	return c.dockerfileBase(release, runtime.GOARCH)
}

func (c *cluster) dockerfileBase(release, arch string) (*base, error) {
	text, err := os.ReadFile(filepath.Join(c.repo, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	return baseOf(string(text), release, arch)
}

// onHost is what a host does in the place of the stages before the last one: files go where these stages have them, in a
// folder of the stage's name. It runs in the repository with the target's name and the folder.
const onHost = `set -eu
target=$1 out=$2
build=$out/build-$target
mkdir -p "$build/out" "$build/etc/ssl/certs" "$out/libtorch/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$build/etc/ssl/certs/"
cp /etc/ssl/certs/ca-certificates.crt "$out/libtorch/etc/ssl/certs/"
cp "bin/$target" "$build/out/"
hack/licenses.sh "./cmd/$target" "$build/out/licenses"
cp LICENSE "$build/out/licenses/"
[ "$target" != trainer ] || hack/runtime.sh "$out/libtorch/runtime"
`

// stageOnHost fills a context, with a Dockerfile in it.
func stageOnHost(name, repo, context string) error {
	text, err := os.ReadFile(filepath.Join(repo, "Dockerfile"))
	if err != nil {
		return err
	}
	stage, err := lastStage(string(text), name)
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", onHost, "sh", name, context)
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, lastLines(string(out), 10))
	}
	return writeFile(filepath.Join(context, "Dockerfile"), stage)
}

var fromStage = regexp.MustCompile(`--from=(\S+) /`)

// lastStage is a Dockerfile of the stage alone, and of the arguments in front of the first one. What it copies from other stages
// it copies from folders of their names.
func lastStage(dockerfile, name string) (string, error) {
	var out strings.Builder
	first, inside, found := true, false, false
	for line := range strings.Lines(dockerfile) {
		if strings.HasPrefix(line, "FROM ") {
			inside = strings.HasSuffix(strings.TrimSpace(line), " AS "+name)
			first, found = false, found || inside
		}
		if inside || first && strings.HasPrefix(line, "ARG ") {
			out.WriteString(fromStage.ReplaceAllString(line, "$1/"))
		}
	}
	if !found {
		return "", fmt.Errorf("the Dockerfile has no stage %s", name)
	}
	return out.String(), nil
}

// localDigest covers all that a local image is made of.
func localDigest(repo, name string) (string, error) {
	hash := sha256.New()
	fmt.Fprint(hash, onHost)
	program := filepath.Join("bin", name)
	for _, file := range []string{"Dockerfile", "LICENSE", "go.mod", "hack/runtime.sh", "hack/licenses.sh", program} {
		if err := hashFile(hash, repo, file); err != nil {
			if file == program {
				return "", fmt.Errorf("%s is missing: run `make build`", filepath.Join(repo, program))
			}
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// deliver saves an image and puts it into the cluster, if it runs.
func (c *cluster) deliver(image, archive string) error {
	done := c.step("save " + image)
	if err := c.save(image, archive); err != nil {
		return err
	}
	done()
	if err := c.printSize(archive); err != nil {
		return err
	}
	if !c.alive() {
		return nil
	}
	defer c.step("load " + image)()
	return c.importImage(archive)
}

// wholeImage builds all stages of an image of an architecture, on layers of earlier builds.
func (c *cluster) wholeImage(name, arch string) error {
	if err := checkDisk(c.dir, 8); err != nil {
		return err
	}
	b, err := c.dockerfileBase("", arch)
	if err != nil {
		return err
	}
	if err := c.golangBase(b); err != nil {
		return err
	}
	volumes, err := c.goVolumes()
	if err != nil {
		return err
	}
	defer c.step("build all stages of " + releaseName(name, arch))()
	args := append(volumes, "--target="+name, "--tag="+releaseName(name, arch), "--file="+filepath.Join(c.repo, "Dockerfile"))
	if commit := c.commit(); commit != "" {
		args = append(args, "--build-arg=COMMIT="+commit)
	}
	return c.buildahBuild(b, c.repo, args...)
}

// commit of the repository, with "-dirty" behind it if the tree differs; "" outside of one.
func (c *cluster) commit() string {
	out, _ := exec.Command("git", "-C", c.repo, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*").Output()
	return strings.TrimSpace(string(out))
}

func imageName(target string) string { return "resnet-operator/" + target + ":dev" }

// releaseName is the image of all stages in buildah's storage.
func releaseName(target, arch string) string {
	return containerdName("resnet-operator/" + target + ":release-" + arch)
}

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

// archives builds the images for an architecture and writes each into the folder as an OCI archive TARGET-VERSION-linux-ARCH.tar, in
// which it is called IMAGES/TARGET:VERSION.
func (c *cluster) archives(folders []string, images, version, arch string) error {
	if len(folders) != 1 {
		return fmt.Errorf("archives: got %d folders, want one", len(folders))
	}
	if err := canBuildFor(arch); err != nil {
		return err
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	defer tidyBuildah()()
	for _, target := range targets {
		if err := c.wholeImage(target, arch); err != nil {
			return fmt.Errorf("image %s: %w", target, err)
		}
		archive := filepath.Join(folders[0], fmt.Sprintf("%s-%s-linux-%s.tar", target, version, arch))
		os.Remove(archive) // it would be appended to
		to := fmt.Sprintf("oci-archive:%s:%s/%s:%s", archive, images, target, version)
		if err := c.buildah("push", "--quiet", "--format=oci", releaseName(target, arch), to); err != nil {
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

func hashFile(w io.Writer, dir, name string) error {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s %d\n", name, len(text))
	_, err = w.Write(text)
	return err
}
