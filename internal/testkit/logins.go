package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/stream"
)

// Login is a way to get into a server: what the server asks for, the connector options that fulfil it, and some that
// do not. The values in Secrets must never be printed.
type Login struct {
	Name    string
	Server  func(*natsd.Options)
	Good    map[string]string
	Wrong   []map[string]string
	Hint    string // a part of what a user is told to do
	Secrets []string
}

// Logins returns every way that connectors know, with keys and certificates made for this test.
func Logins(tb testing.TB) []Login {
	tb.Helper()
	return []Login{tokenLogin(), nkeyLogin(tb), credentialsLogin(tb), tlsLogin(tb), clientCertLogin(tb)}
}

// Options are those of a connector, with the secret ones as such.
func Options(text map[string]string) stream.Options {
	o := stream.Options{}
	for name, value := range text {
		o[name] = value
		if name == "token" {
			o[name] = stream.NewSecret("env:TOKEN", value)
		}
	}
	return o
}

func tokenLogin() Login {
	return Login{Name: "token", Server: func(o *natsd.Options) { o.Token = "s3cr3t-t0ken" },
		Good: map[string]string{"token": "s3cr3t-t0ken"}, Wrong: []map[string]string{{"token": "wr0ng-t0ken"}, {}},
		Hint: "token", Secrets: []string{"s3cr3t-t0ken", "wr0ng-t0ken"}}
}

func nkeyLogin(tb testing.TB) Login {
	tb.Helper()
	good, public := userSeed(tb)
	other, _ := userSeed(tb)
	return Login{Name: "nkey", Server: func(o *natsd.Options) { o.NKeys = []string{public} },
		Good: map[string]string{"nkey": write(tb, "good.nk", good)}, Secrets: []string{good, other},
		Wrong: []map[string]string{{"nkey": write(tb, "other.nk", other)}, {}}, Hint: "nkey"}
}

func userSeed(tb testing.TB) (seed, public string) {
	tb.Helper()
	pair, err := nkeys.CreateUser()
	require.NoError(tb, err)
	return seedOf(tb, pair)
}

func seedOf(tb testing.TB, pair nkeys.KeyPair) (seed, public string) {
	tb.Helper()
	secret, err := pair.Seed()
	require.NoError(tb, err)
	public, err = pair.PublicKey()
	require.NoError(tb, err)
	return string(secret), public
}

func credentialsLogin(tb testing.TB) Login {
	tb.Helper()
	operator, err := nkeys.CreateOperator()
	require.NoError(tb, err)
	account, err := nkeys.CreateAccount()
	require.NoError(tb, err)
	stranger, err := nkeys.CreateAccount()
	require.NoError(tb, err)
	_, operatorID := seedOf(tb, operator)
	_, accountID := seedOf(tb, account)
	claims := jwt.NewAccountClaims(accountID)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	signed, err := claims.Encode(operator)
	require.NoError(tb, err)
	system, err := nkeys.CreateAccount()
	require.NoError(tb, err)
	_, systemID := seedOf(tb, system)
	systemSigned, err := jwt.NewAccountClaims(systemID).Encode(operator)
	require.NoError(tb, err)
	good, goodSeed := credentials(tb, account)
	wrong, wrongSeed := credentials(tb, stranger)
	return Login{Name: "credentials", Secrets: []string{goodSeed, wrongSeed}, Hint: "credentials",
		Server: func(o *natsd.Options) {
			o.Operator, o.System = operatorID, systemID
			o.Accounts = map[string]string{accountID: signed, systemID: systemSigned}
		},
		Good:  map[string]string{"credentials": write(tb, "good.creds", good)},
		Wrong: []map[string]string{{"credentials": write(tb, "wrong.creds", wrong)}, {}}}
}

// credentials returns the content of a .creds file for a new user of an account, and the user's seed.
func credentials(tb testing.TB, account nkeys.KeyPair) (file, seed string) {
	tb.Helper()
	seed, public := userSeed(tb)
	token, err := jwt.NewUserClaims(public).Encode(account)
	require.NoError(tb, err)
	content, err := jwt.FormatUserConfig(token, []byte(seed))
	require.NoError(tb, err)
	return string(content), seed
}

func tlsLogin(tb testing.TB) Login {
	tb.Helper()
	ours, other := newAuthority(tb), newAuthority(tb)
	server := ours.issue(tb, "server")
	return Login{Name: "tls", Hint: "tls_ca",
		Server: func(o *natsd.Options) {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{server.pair(tb)}, MinVersion: tls.VersionTLS12}
		},
		Good: map[string]string{"tls_ca": ours.file}, Wrong: []map[string]string{{"tls_ca": other.file}, {}}}
}

func clientCertLogin(tb testing.TB) Login {
	tb.Helper()
	ours, other := newAuthority(tb), newAuthority(tb)
	server, client, stranger := ours.issue(tb, "server"), ours.issue(tb, "client"), other.issue(tb, "client")
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	return Login{Name: "client certificate", Hint: "tls_cert",
		Server: func(o *natsd.Options) {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{server.pair(tb)}, MinVersion: tls.VersionTLS12,
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		},
		Good: map[string]string{"tls_ca": ours.file, "tls_cert": client.cert, "tls_key": client.key},
		Wrong: []map[string]string{{"tls_ca": ours.file},
			{"tls_ca": ours.file, "tls_cert": stranger.cert, "tls_key": stranger.key}}}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

// issued is where a certificate and its key lie.
type issued struct{ cert, key string }

func (i issued) pair(tb testing.TB) tls.Certificate {
	tb.Helper()
	pair, err := tls.LoadX509KeyPair(i.cert, i.key)
	require.NoError(tb, err)
	return pair
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := certificate("test authority")
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(tb, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	return &authority{cert: cert, key: key, file: write(tb, "ca.pem", block("CERTIFICATE", der))}
}

func (a *authority) issue(tb testing.TB, name string) issued {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := certificate(name)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(tb, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(tb, err)
	return issued{cert: write(tb, name+".pem", block("CERTIFICATE", der)),
		key: write(tb, name+".key", block("EC PRIVATE KEY", secret))}
}

func certificate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), BasicConstraintsValid: true}
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func write(tb testing.TB, name, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// LogIn lets the test's own client use connector options.
func (s *Server) LogIn(options map[string]string) {
	s.tb.Helper()
	for name, value := range options {
		switch name {
		case "credentials":
			s.login = append(s.login, nats.UserCredentials(value))
		case "nkey":
			option, err := nats.NkeyOptionFromSeed(value)
			require.NoError(s.tb, err)
			s.login = append(s.login, option)
		case "tls_ca":
			s.login = append(s.login, nats.RootCAs(value))
		case "tls_cert":
			s.login = append(s.login, nats.ClientCert(value, options["tls_key"]))
		}
	}
}
