package vault

// Column is a column of the store that holds sealed values. Reseal knows all of
// them, so there are no others than those below.
type Column struct{ table, key, value string }

// The sealed columns. A new one is added to columns too.
var (
	// JobEnv is the environment of a job, by the job's id.
	JobEnv = Column{table: "jobs", key: "id", value: "env"}
	// RegistryCredential is the user and password for a registry, by the
	// credential's id.
	RegistryCredential = Column{table: "registry_credentials", key: "id", value: "secret"}

	secrets = Column{table: "vault_secrets", key: "name", value: "value"}
)

var columns = []Column{JobEnv, RegistryCredential, secrets}

// Place is where the value of the row with this key is, for Seal and Open.
func (c Column) Place(key string) string { return c.table + "." + c.value + "/" + key }
