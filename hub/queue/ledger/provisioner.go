package ledger

// Generation is one of the wire generations of the Shipfox API, a property of a
// provisioner's token. The values are stored: add at the end only.
type Generation string

// The generations, the newest first.
const (
	GenerationHead Generation = "head"
	GenerationERT  Generation = "ert"
	GenerationPR   Generation = "pr"
)

// Valid says whether g is one of the generations.
func (g Generation) Valid() bool {
	return g == GenerationHead || g == GenerationERT || g == GenerationPR
}

// Provisioner is who asks for demand.
type Provisioner struct {
	// ID is the owner of what it launches.
	ID string
	// Generation is the API that it speaks.
	Generation Generation
}

// AddProvisioner stores a new provisioner.
func (t *Tx) AddProvisioner(id, name string, generation Generation) error {
	_, err := t.Exec(`INSERT INTO provisioners (id, name, generation, created_at) VALUES (?, ?, ?, ?)`,
		id, name, generation, Millis(t.Now))
	return err
}
