package diag_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"nats://bob:S3cr3tPw@host:4222":            "nats://***@host:4222",
		"nats://token@host":                        "nats://***@host",
		"nats://bob:p@ss@host":                     "nats://***@host",
		"nats://bob:pa/ss@host/x":                  "nats://***@host/x",
		"nats://bob:it's@host":                     "nats://***@host",
		"TLS://a:b@h, nats://c:d@i,nats://plain:1": "TLS://***@h, nats://***@i,nats://plain:1",
		"https://a:b@h/p@th":                       "https://***@h/p@th",
		"s3://bucket/dir@2024":                     "s3://bucket/dir@2024",
		"mail bob@host":                            "mail bob@host",
		"nats://***@host":                          "nats://***@host",
		"nats://*************@host":                "nats://***@host",
	} {
		require.Equal(t, want, diag.Redact(text))
	}
}
