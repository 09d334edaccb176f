package api

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// FirstAdmin makes an admin token when no good token has the role admin: at a
// hub's first start, or when all were revoked or have expired. made is false when
// there is one. The caller shows the token once; only its digest is stored.
func FirstAdmin(ctx context.Context, q *queue.Queue) (token tokens.Token, made bool, err error) {
	known, err := q.Tokens(ctx)
	if err != nil {
		return tokens.Token{}, false, err
	}
	for _, t := range known {
		if t.Role == queue.RoleAdmin && t.Good(time.Now()) {
			return tokens.Token{}, false, nil
		}
	}
	_, token, err = q.CreateToken(ctx, queue.TokenSpec{Kind: tokens.Admin, Name: "first admin"})
	return token, err == nil, err
}
