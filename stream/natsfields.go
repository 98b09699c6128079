package stream

import "time"

// NATSFields returns the options by which the jetstream source and the jetstream sink reach a server.
func NATSFields() []Field {
	return []Field{
		{Name: "url", Type: String, Default: "nats://127.0.0.1:4222",
			Summary: "Server address, or several with commas between them."},
		{Name: "credentials", Type: String, Summary: "Path of a .creds file (JWT and NKey seed)."},
		{Name: "nkey", Type: String, Summary: "Path of an NKey seed file."},
		{Name: "user", Type: String, Summary: "User name."},
		{Name: "password", Type: Secret, Summary: "Password of the user."},
		{Name: "token", Type: Secret, Summary: "Authentication token."},
		{Name: "tls_ca", Type: String,
			Summary: "Path of a PEM file with the authorities that the server's certificate must chain to. " +
				"Default: the system's."},
		{Name: "tls_cert", Type: String, Summary: "Path of a PEM file with the client certificate."},
		{Name: "tls_key", Type: String, Summary: "Path of a PEM file with the client certificate's key."},
		{Name: "domain", Type: String, Fixed: true, Summary: "JetStream domain."},
		{Name: "connect_timeout", Type: Duration, Default: "5 seconds", Min: int64(10 * time.Millisecond),
			Max:     int64(10 * time.Minute),
			Summary: "How long to wait for a connection, and for each answer of the server."},
	}
}
