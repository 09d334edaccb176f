package lease

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue/access"
)

func TestASignatureIsOfOneKeyAndForOneUse(t *testing.T) {
	own, other := signer{key: []byte("the key of this folder..........")}, signer{key: []byte("another key, of another folder..")}
	token, err := own.lease("lease", "job")
	require.NoError(t, err)
	id, job, err := own.parseLease(token)
	require.NoError(t, err)
	require.Equal(t, []string{"lease", "job"}, []string{id, job})
	_, err = own.parseSession(token)
	require.ErrorIs(t, err, access.ErrUnauthorized)
	_, _, err = other.parseLease(token)
	require.ErrorIs(t, err, access.ErrUnauthorized)
}
