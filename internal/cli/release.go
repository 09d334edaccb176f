package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/release"
)

// programPrefix begins the names of agents that a hub serves, manifestSuffix ends
// those of their manifests.
const (
	programPrefix  = "slipway-agent-"
	manifestSuffix = ".manifest"
)

func releaseCommand() *cobra.Command {
	return command.Group("release", "Sign the agents that a hub hands out", releaseKeygen(), releaseSign(), releaseVerify())
}

func releaseKeygen() *cobra.Command {
	var private, public string
	c := &cobra.Command{
		Use: "keygen", Short: "Make the key that agents trust for their updates", Args: command.Args(0, 0, ""),
		Long: `Make the key that agents trust for their updates. The private key stays where
releases are signed, never on a hub; the public one goes into the hub's folder of
agents as update-key.pub, and every host keeps it from its installation on.`,
	}
	c.Flags().StringVar(&private, "private", "update-key", "file for the private key; it must not be there yet")
	c.Flags().StringVar(&public, "public", "update-key.pub", "file for the public key; it must not be there yet")
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, path := range []string{private, public} {
			if _, err := os.Lstat(path); err == nil {
				return fmt.Errorf("%s is there already: a key is never replaced, choose another name", path)
			}
		}
		secret, key, err := release.GenerateKey()
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		if err := release.WritePrivateKey(private, secret); errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already: a key is never replaced, choose another name", private)
		} else if err != nil {
			return err
		}
		if err := release.WritePublicKey(public, key); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "key %s: private in %s, public in %s\n", key.ID(), private, public)
		return err
	}
	return c
}

func releaseSign() *cobra.Command {
	var key, version string
	c := &cobra.Command{
		Use: "sign --key FILE --version V PROGRAM...", Short: "Write signed manifests beside agents",
		Long: `Write signed manifests beside agents: for each slipway-agent-<os>-<arch> a file with
.manifest at the end, which says its version, platform, size and SHA-256.`,
		Args: command.Args(1, -1, "a program, slipway-agent-<os>-<arch>"),
	}
	c.Flags().StringVar(&key, "key", "", "file of the private key")
	c.Flags().StringVar(&version, "version", "", "the programs' version, such as 1.4.0")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case key == "":
			return command.Usage(c, "--key is missing: the file of the private key (slipway release keygen makes one)")
		case version == "":
			return command.Usage(c, "--version is missing, such as 1.4.0")
		}
		for _, path := range args {
			if _, _, ok := platformOf(path); !ok {
				return command.Usage(c, "%s: a name such as slipway-agent-linux-amd64 is needed", path)
			}
		}
		secret, err := release.ReadPrivateKey(key)
		if err != nil {
			return err
		}
		for _, path := range args {
			goos, arch, _ := platformOf(path)
			m, err := release.Describe(path, version, goos, arch)
			if errors.Is(err, release.ErrVersion) {
				return command.Usage(c, "--version is %q: a version such as 1.4.0 or 1.5.0-rc.1 is needed", version)
			}
			if err == nil {
				m, err = release.Sign(m, secret)
			}
			if err == nil {
				err = release.Write(path+manifestSuffix, m)
			}
			if err != nil {
				return fmt.Errorf("sign %s: %w", path, err)
			}
			if _, err := fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", path+manifestSuffix, summary(m)); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// platformOf reads what a program is for from its name.
func platformOf(path string) (goos, arch string, ok bool) {
	name, ok := strings.CutPrefix(filepath.Base(path), programPrefix)
	goos, arch, cut := strings.Cut(name, "-")
	return goos, arch, ok && cut && goos != "" && arch != "" && !strings.ContainsAny(arch, "-.")
}

func summary(m release.Manifest) string {
	return fmt.Sprintf("%s %s/%s, %s, by key %s", m.Version, m.OS, m.Arch, command.Size(m.Size), m.KeyID)
}

func releaseVerify() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "verify --key FILE PROGRAM...", Short: "Check agents against their manifests, and these against the key",
		Args: command.Args(1, -1, "a program with a manifest beside it"),
	}
	c.Flags().StringVar(&key, "key", "", "file of the public key")
	c.RunE = func(c *cobra.Command, args []string) error {
		if key == "" {
			return command.Usage(c, "--key is missing: the file of the public key, update-key.pub")
		}
		public, err := release.ReadPublicKey(key)
		if err != nil {
			return err
		}
		for _, path := range args {
			m, err := verify(strings.TrimSuffix(path, manifestSuffix), public)
			if err != nil {
				return fmt.Errorf("verify %s: %w", path, err)
			}
			if _, err := fmt.Fprintf(c.OutOrStdout(), "%s: good, %s\n", path, summary(m)); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// verify checks the manifest's signature first, and with it all else.
func verify(path string, key release.PublicKey) (release.Manifest, error) {
	m, err := release.Read(path + manifestSuffix)
	if err != nil {
		return m, err
	}
	if err := m.Verify(key); err != nil {
		return m, err
	}
	if goos, arch, ok := platformOf(path); ok && (goos != m.OS || arch != m.Arch) {
		return m, fmt.Errorf("the manifest is of %s/%s", m.OS, m.Arch)
	}
	f, err := os.Open(path)
	if err != nil {
		return m, err
	}
	return m, errors.Join(m.Check(f), f.Close())
}
