package leasebook_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue/leasebook"
)

const life = 120 * time.Second // a ttl and its grace

func newBook() *leasebook.Book {
	return leasebook.New(leasebook.Config{TTL: 90 * time.Second, Grace: 30 * time.Second, TimeoutGrace: time.Minute})
}

func lapsed(b *leasebook.Book) []leasebook.Lapsed {
	out, _ := b.ClaimLapsed()
	return out
}

func TestALeaseLapsesALifeAfterItsLastRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		require.Equal(t, life, time.Until(b.Add("x", time.Hour)))
		time.Sleep(life - time.Second)
		cancel, lives := b.Renew("x")
		require.True(t, lives)
		require.False(t, cancel)
		require.Equal(t, time.Now(), b.RenewedAt("x"))
		time.Sleep(life - time.Second)
		out, next := b.ClaimLapsed()
		require.Empty(t, out)
		require.Equal(t, time.Second, time.Until(next))
		time.Sleep(time.Second)
		out, next = b.ClaimLapsed()
		require.Equal(t, []leasebook.Lapsed{{ID: "x"}}, out)
		require.Zero(t, next)

		_, lives = b.Renew("x")
		require.False(t, lives, "somebody is ending it: a renewal between would be a lie")
		require.Empty(t, lapsed(b), "it is given out once")
		b.Revive(out)
		_, lives = b.Renew("x")
		require.True(t, lives, "its end was not stored, so it lives")
		b.Remove("x")
		_, lives = b.Renew("x")
		require.False(t, lives)
		require.Zero(t, b.RenewedAt("x"))
	})
}

func TestWhatARenewalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		for _, id := range []string{"cancelled", "refused", "overtime"} {
			b.Add(id, time.Minute)
		}
		b.Cancel("cancelled")
		b.Refuse("refused")
		b.Cancel("unknown")
		b.Refuse("unknown")
		cancel, lives := b.Renew("cancelled")
		require.True(t, cancel && lives)
		b.Remove("cancelled")
		_, lives = b.Renew("refused")
		require.False(t, lives)
		time.Sleep(life - time.Second)
		_, lives = b.Renew("overtime")
		require.True(t, lives, "its minute is not over before its grace is")
		time.Sleep(2 * time.Second)
		require.Equal(t, []leasebook.Lapsed{{ID: "refused"}}, lapsed(b), "one that is refused runs out as if nobody renewed it")
		_, lives = b.Renew("overtime")
		require.False(t, lives)
		time.Sleep(life)
		require.Contains(t, lapsed(b), leasebook.Lapsed{ID: "overtime", Overtime: true})
	})
}
