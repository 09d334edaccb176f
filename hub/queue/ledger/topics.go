package ledger

// Topics of Board.
const (
	// TopicJobs: something about some job changed.
	TopicJobs = "jobs"
	// TopicDemand: jobs became free to grant.
	TopicDemand = "demand"
	// TopicExpiry: something may expire sooner than Expect was told.
	TopicExpiry = "expiry"
)

// TopicJob is woken by every change of one job.
func TopicJob(id string) string { return "job:" + id }

// TopicToken is woken when a token was revoked.
func TopicToken(id string) string { return "token:" + id }

// TopicProvisioner is woken when a poll of the provisioner may have another answer.
func TopicProvisioner(id string) string { return "provisioner:" + id }

// TopicRunner is woken when an enrolled runner was given a job, or will get none.
func TopicRunner(id string) string { return "runner:" + id }
