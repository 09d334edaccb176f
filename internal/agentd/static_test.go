package agentd

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// elfProgram writes a program that has nothing but one segment.
func elfProgram(t *testing.T, kind elf.ProgType, text string) string {
	t.Helper()
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	segment := elf.Prog64{Type: uint32(kind), Off: 120, Filesz: uint64(len(text)), Memsz: uint64(len(text))}
	var b bytes.Buffer
	require.NoError(t, binary.Write(&b, binary.LittleEndian, header))
	require.NoError(t, binary.Write(&b, binary.LittleEndian, segment))
	b.WriteString(text)
	path := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o755))
	return path
}

func TestAProgramThatNeedsALoaderIsWarnedOf(t *testing.T) {
	const loader = "/lib64/ld-linux-x86-64.so.2"
	dynamic, static := elfProgram(t, elf.PT_INTERP, loader+"\x00"), elfProgram(t, elf.PT_LOAD, "code")
	require.Equal(t, loader, loaderOf(dynamic))
	require.Empty(t, loaderOf(static))
	require.Empty(t, loaderOf(filepath.Join(t.TempDir(), "absent")))
	for _, c := range []struct {
		program, backend string
		warned           bool
	}{{dynamic, "docker", true}, {static, "docker", false}, {dynamic, "process", false}} {
		h := newHub(t)
		a := start(t, h.enrolHere(t), func(config *Config) {
			config.Executable, config.Backend, config.DockerHost = c.program, c.backend, "unix:///nonexistent/docker.sock"
		})
		h.session()
		require.Equal(t, c.warned, bytes.Contains([]byte(a.log.String()), []byte("not static")), "%+v: %s", c, a.log)
	}
}
