package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
)

// Image is what BusyboxImage makes. It stays on the engine for later tests.
const Image = "slipway-test:busybox"

// programs are those of busybox that can be started without its shell, which finds
// all others in itself. An engine without layers copies the image for each
// container: with a link for each of 270 that took most of the tests' time.
var programs = []string{"sh", "cat", "echo", "env", "false", "head", "id", "kill", "ls", "printf", "sleep", "test", "true", "touch", "yes"}

// BusyboxImage makes sure that the engine has an image of a static busybox, with a
// shell that has all its programs, and returns its name. No registry is asked.
func BusyboxImage(t testing.TB) string {
	t.Helper()
	engine := Engine(t)
	// Test programs run side by side: two imports would leave one image without a
	// name behind.
	defer lock(t, "slipway-test-image.lock")()
	_, err := engine.ImageInspect(t.Context(), Image)
	if cerrdefs.IsNotFound(err) {
		importImage(t, engine, Image)
		return Image
	}
	require.NoError(t, err)
	return Image
}

func importImage(t testing.TB, engine *client.Client, name string) {
	t.Helper()
	stream, err := engine.ImageImport(t.Context(), image.ImportSource{Source: bytes.NewReader(RootFS(t, "")), SourceName: "-"}, name,
		image.ImportOptions{Changes: []string{"ENV PATH=/bin", `CMD ["/bin/sh"]`}})
	require.NoError(t, err)
	answer, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	require.NotContains(t, string(answer), "error")
}

// Busybox is the path of a static busybox on this machine. Without one the test
// is skipped, or fails when TEST_DOCKER=require.
func Busybox(t testing.TB) string {
	t.Helper()
	file, err := exec.LookPath("busybox")
	if err == nil {
		return file
	}
	if os.Getenv(RequireEnv) == "require" {
		require.NoError(t, err, "test images are made of a static busybox (package busybox-static)")
	}
	t.Skipf("no static busybox for the test image of the Docker engine: %v", err)
	return ""
}

// RootFS is a tar archive of the test image's files, and of /etc/mark. The mark
// makes a layer that the engine does not have yet.
func RootFS(t testing.TB, mark string) []byte {
	t.Helper()
	file := Busybox(t)
	program, err := os.ReadFile(file)
	require.NoError(t, err)

	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write(content)
		require.NoError(t, err)
	}
	for _, folder := range []string{"bin/", "etc/", "tmp/", "root/"} {
		add(tar.Header{Name: folder, Typeflag: tar.TypeDir, Mode: 0o1777}, nil)
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/tmp:/bin/sh\n"))
	add(tar.Header{Name: "etc/mark", Mode: 0o644}, []byte(mark))
	for _, name := range programs {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// RemoveImages takes away every image whose name begins with prefix, those that
// have lost their tag to a newer one too.
func RemoveImages(t testing.TB, engine *client.Client, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	images, err := engine.ImageList(ctx, image.ListOptions{All: true})
	require.NoError(t, err)
	for _, i := range images {
		if slices.ContainsFunc(append(i.RepoTags, i.RepoDigests...), func(name string) bool { return strings.HasPrefix(name, prefix) }) {
			_, err := engine.ImageRemove(ctx, i.ID, image.RemoveOptions{Force: true, PruneChildren: true})
			if err != nil && !cerrdefs.IsNotFound(err) {
				t.Errorf("remove image %s: %v", i.ID, err)
			}
		}
	}
}

// lock holds a lock of this machine until the function that it returns is called.
func lock(t testing.TB, name string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), name), os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	require.NoError(t, err)
	return func() { _ = f.Close() }
}
