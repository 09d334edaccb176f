package vault

import "context"

// Columns are the names of the sealed columns.
func Columns() (out []string) {
	for _, c := range columns {
		out = append(out, c.table+"."+c.value)
	}
	return out
}

// ResealCredentials is a batch of Reseal, with a pause before it is written.
func (v *Vault) ResealCredentials(ctx context.Context, pause func()) (done int, err error) {
	rows, err := v.page(ctx, RegistryCredential, "")
	if err != nil {
		return 0, err
	}
	fresh := v.sealAnew(RegistryCredential, rows)
	pause()
	return v.replace(ctx, RegistryCredential, fresh)
}
