package form

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
)

func TestNamesAndLabels(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "builder-01": true, "0": true, strings.Repeat("a", 63): true, "a--b": true,
		"": false, strings.Repeat("a", 64): false, "A": false, "a_b": false, "a.b": false, "-a": false, "a-": false, "ä": false,
		"a b": false, "a\n": false, "a;b": false, "0192f0c1-6f3e-7a55-8a3e-0a4d2f7b9c11": false,
	} {
		err := Name(name)
		require.Equal(t, ok, err == nil, "%q: %v", name, err)
		if !ok {
			require.ErrorIs(t, err, queue.ErrInvalid)
		}
	}
	many := map[string]string{}
	for n := range MaxLabels + 1 {
		many[fmt.Sprint("k", n)] = "v"
	}
	for _, bad := range []map[string]string{
		{"": "v"}, {"K": "v"}, {"-k": "v"}, {"k-": "v"}, {"k": "a b"}, {"k": strings.Repeat("v", 64)}, {"k": "v\n"}, {"k=": "v"}, {"k": "a,b"}, {"k": "ä"}, many,
	} {
		require.ErrorIs(t, Labels("labels", bad), queue.ErrInvalid, "%q", bad)
	}
	require.NoError(t, Labels("labels", map[string]string{"gpu": "A100", "example.com/zone": "eu_1.b", "spot": ""}))
}

func TestPublicURL(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "https://ci.example.com": "https://ci.example.com", "https://ci.example.com/": "https://ci.example.com",
		"https://ci.example.com:8443/slipway/": "https://ci.example.com:8443/slipway", "https://[2001:db8::1]:8443": "https://[2001:db8::1]:8443",
		"http://localhost:8080": "http://localhost:8080", "http://127.0.0.1:1": "http://127.0.0.1:1", "http://[::1]:1": "http://[::1]:1", "http://127.8.9.1": "http://127.8.9.1",
	} {
		got, err := PublicURL(text, false)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{
		"http://ci.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://0.0.0.0:80", "ftp://ci.example.com", "ci.example.com", "https://", "https:///x", "https://u:p@ci.example.com", "https://u@ci.example.com",
		"https://ci.example.com?x=1", "https://ci.example.com#x", "https://ci.example.com/$(id)", "https://ci.example.com/a b", "https://ci.example.com/;id", "https://ci.example.com/'", "https://ci.example.com/`id`",
		"https://ci.example.com/../x", "https://ci.example.com//x", "https://ci.example.com\n", "https://ci.example.com/{a,b}", "https://ci.example.com:x", "https://ci.exämple.com", "HTTPS://ci.example.com",
	} {
		_, err := PublicURL(text, false)
		require.Error(t, err, text)
	}
	_, err := PublicURL("http://ci.example.com", true)
	require.NoError(t, err, "--insecure-http allows it")
}
