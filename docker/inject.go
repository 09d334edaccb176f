package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/slipway-ci/slipway/backend"
)

// CAFileEnv names the file with certificates that lies beside an injected runner.
const CAFileEnv = "SLIPWAY_CA_FILE"

// caName is that file's name.
const caName = "ca.pem"

// program is the one-job runner that goes into a container.
type program struct {
	file string // on this machine; empty until it is located
}

// inject makes the container one that starts the program. It lies in a volume of
// the container's own: nothing can be copied into a read-only root file system.
func (b *Backend) inject(j *job) error {
	switch {
	case b.config.Runner == nil:
		return invalid("inject runner: this backend has no runner program")
	case len(j.spec.Entrypoint)+len(j.spec.Command) > 0:
		return invalid("inject runner: entrypoint and command must be empty")
	}
	folder := path.Dir(b.config.RunnerPath)
	for _, m := range j.host.Mounts {
		if m.Target == folder || strings.HasPrefix(m.Target, folder+"/") {
			return invalid("mount %s: the runner program lies there", m.Target)
		}
	}
	j.program = &program{}
	j.config.Entrypoint = []string{b.config.RunnerPath}
	j.config.Cmd = b.config.RunnerArgs
	// The image may name another signal, which its own program would have known.
	j.config.StopSignal = "SIGTERM"
	j.host.Mounts = append(j.host.Mounts, mount.Mount{
		Type: mount.TypeVolume, Target: folder, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
	})
	if _, own := j.spec.Env[CAFileEnv]; !own && len(b.config.CARoots) > 0 {
		j.config.Env = append(j.config.Env, CAFileEnv+"="+path.Join(folder, caName))
	}
	return nil
}

// locate finds the program for the image's platform, unless j needs none.
func (b *Backend) locate(ctx context.Context, j *job) error {
	if j.program == nil || j.program.file != "" {
		return nil
	}
	image, err := b.client.ImageInspect(ctx, j.spec.Image)
	if cerrdefs.IsNotFound(err) && j.spec.PullPolicy != backend.PullNever {
		if err = b.pull(ctx, j.spec); err != nil {
			return err
		}
		image, err = b.client.ImageInspect(ctx, j.spec.Image)
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", j.spec.Image, failure(ctx, err))
	}
	// An engine that keeps several platforms of one image tells its own here.
	system, arch := image.Os, image.Architecture
	if j.spec.OS != "" {
		system = j.spec.OS
	}
	if j.spec.Arch != "" {
		arch = j.spec.Arch
	}
	file, err := b.config.Runner(ctx, system, arch)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return invalid("inject runner: there is no runner program for %s/%s: %w", system, arch, err)
	case err != nil:
		return as(backend.ErrUnavailable, fmt.Errorf("runner program for %s/%s: %w", system, arch, err))
	}
	j.program.file = file
	return nil
}

// putProgram copies the program into the container's volume.
func (b *Backend) putProgram(ctx context.Context, j *job, id string) error {
	if j.program == nil {
		return nil
	}
	f, err := os.Open(j.program.file)
	if err != nil {
		return invalid("inject runner: %w", err)
	}
	defer f.Close()
	r, w := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		w.CloseWithError(pack(w, f, path.Base(b.config.RunnerPath), b.config.CARoots))
	}()
	err = b.client.CopyToContainer(ctx, id, path.Dir(b.config.RunnerPath), r, container.CopyToContainerOptions{})
	_ = r.CloseWithError(io.ErrClosedPipe)
	<-packed
	if err != nil {
		return fmt.Errorf("put the runner program in: %w", err)
	}
	return nil
}

// pack writes a tar archive of the program and the certificates.
func pack(w io.Writer, program *os.File, name string, roots []byte) error {
	info, err := program.Stat()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	err = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: info.Size(), ModTime: info.ModTime()})
	if err != nil {
		return err
	}
	if _, err := io.Copy(archive, program); err != nil {
		return err
	}
	if len(roots) > 0 {
		if err := archive.WriteHeader(&tar.Header{Name: caName, Mode: 0o644, Size: int64(len(roots))}); err != nil {
			return err
		}
		if _, err := archive.Write(roots); err != nil {
			return err
		}
	}
	return archive.Close()
}

// rootFiles are where systems keep their bundle of certificates; the list is
// that of crypto/x509 for Linux.
var rootFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

func systemRoots() []byte {
	for _, file := range rootFiles {
		if pem, err := os.ReadFile(file); err == nil {
			return pem
		}
	}
	return nil
}
