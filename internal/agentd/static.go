package agentd

import (
	"bytes"
	"debug/elf"
)

// loaderOf is the loader that a program needs, such as the dynamic linker of a
// C library; empty: it is static, or that can't be told.
func loaderOf(program string) string {
	file, err := elf.Open(program)
	if err != nil {
		return ""
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, min(part.Filesz, 4096))
		if _, err := part.ReadAt(name, 0); err != nil {
			return ""
		}
		return string(bytes.TrimRight(name, "\x00"))
	}
	return ""
}

// warnOfLoader says in one line that images may lack what this program, which is
// put into containers as their runner, needs to start there.
func (p *program) warnOfLoader(self string) {
	if p.config.Backend != "docker" {
		return
	}
	if loader := loaderOf(self); loader != "" {
		p.log.Warn("this program is not static: as the runner that inject_runner puts into a container it starts only in images that have its loader; "+
			"use a build with CGO_ENABLED=0", "program", self, "loader", loader)
	}
}
