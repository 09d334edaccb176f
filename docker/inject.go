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
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// CAFileEnv names the file with certificates that lies beside an injected runner.
const CAFileEnv = "SLIPWAY_CA_FILE"

// caName is that file's name.
const caName = "ca.pem"

// program is the one-job runner that goes into a container.
type program struct {
	file string // on this machine; empty until it is located
}

// locate finds the program for the image's platform, unless j needs none.
func (b *Backend) locate(ctx context.Context, j *job) error {
	if j.program == nil || j.program.file != "" {
		return nil
	}
	looked := time.Now()
	image, err := b.client.ImageInspect(ctx, j.spec.Image)
	if cerrdefs.IsNotFound(err) && j.spec.PullPolicy != backend.PullNever {
		if err = b.images.Pull(ctx, j.spec, looked); err != nil {
			return err
		}
		image, err = b.client.ImageInspect(ctx, j.spec.Image)
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", j.spec.Image, fault.Of(ctx, err))
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
		return fault.Invalid("inject runner: there is no runner program for %s/%s: %w", system, arch, err)
	case err != nil:
		return fault.As(backend.ErrUnavailable, fmt.Errorf("runner program for %s/%s: %w", system, arch, err))
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
		return fault.Invalid("inject runner: %w", err)
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
