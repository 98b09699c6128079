// Package natsconn is the one connection to a NATS server that a connector holds, and the few JetStream
// requests that the source and the sink share. It connects when it is first used, reconnects by itself, and
// turns every fault into a coded error that says what to do. It keeps no position. A Tap hands over the messages of one
// subscription as they come off the socket, past the client library, which costs several times as much for each.
package natsconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
)

// MarkerHeader is on every message that a jetstream sink writes for itself and that holds no rows; sources
// leave such messages out.
const MarkerHeader = "Tidemill-Marker"

// UnstoredBytes is how much one writer sends to a stream before it knows that it is stored. A server keeps at most 128 MiB and 100,000
// messages of a stream that it has yet to store, unless it is configured otherwise, and refuses what comes then.
const UnstoredBytes = 32 << 20

// Options are the checked options of a connector; stream.Options is one. The names are those of
// stream.NATSFields.
type Options interface {
	Has(name string) bool
	String(name string) string
	Duration(name string) time.Duration
}

// Config says whom to connect for.
type Config struct {
	What    string    // such as `source "orders"`, for messages
	Code    diag.Code // of errors when the server can not be reached
	Options Options
	Log     *slog.Logger // nil: no log
	Lost    func()       // called, from another goroutine, when the connection breaks; may be nil
	Dial    Dial         // nil: over the network
}

// Dial connects to an address as a net.Dialer does. It says how a server is reached that may not be across the network.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Client is a connection. All methods may be called concurrently.
type Client struct {
	cfg     Config
	options []nats.Option
	urls    string
	prefix  string // of JetStream API subjects, with the final dot
	timeout time.Duration

	connecting sync.Mutex // one dial at a time
	mu         sync.Mutex // guards conn, dialer, closed and waiting
	conn       *nats.Conn
	dialer     *dialer // of conn
	closed     bool
	waiting    map[*context.CancelCauseFunc]struct{} // those who wait for an answer
	taps       atomic.Uint64                         // subscriptions of taps so far
	worked     atomic.Bool                           // the server has answered before: later faults are temporary
}

// New checks the options without touching the network. It fails with BAD_OPTION, or READ_FAILED for a file
// that can not be read.
func New(cfg Config) (*Client, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	o := cfg.Options
	c := &Client{
		cfg: cfg, urls: o.String("url"), prefix: "$JS.API.", timeout: o.Duration("connect_timeout"),
		waiting: map[*context.CancelCauseFunc]struct{}{},
	}
	if c.urls == "" {
		c.urls = nats.DefaultURL
	}
	if c.timeout <= 0 {
		c.timeout = 5 * time.Second
	}
	if c.cfg.Dial == nil {
		c.cfg.Dial = new(net.Dialer).DialContext
	}
	if d := o.String("domain"); d != "" {
		if !ValidStream(d) {
			return nil, diag.New(diag.BadOption, "domain of %s is %q, which can not be a JetStream domain", cfg.What, d).
				OfOption("domain").WithHint("a domain has no spaces, dots, slashes, * or >")
		}
		c.prefix = "$JS." + d + ".API."
	}
	for _, u := range strings.Split(c.urls, ",") {
		if !isAddress(strings.TrimSpace(u)) {
			return nil, diag.New(diag.BadOption, "url of %s is not the address of a NATS server", cfg.What).
				OfOption("url").WithHint("write it as nats://host:4222; tls, ws and wss are known too")
		}
	}
	auth, err := authOptions(cfg)
	if err != nil {
		return nil, err
	}
	secure, err := tlsOptions(cfg)
	if err != nil {
		return nil, err
	}
	c.options = append(auth, secure...)
	return c, nil
}

// isAddress reports whether u says where a NATS server is, as nats.go reads it.
func isAddress(u string) bool {
	if !strings.Contains(u, "://") {
		u = "nats://" + u
	}
	parsed, err := url.Parse(u)
	if err != nil || parsed.Hostname() == "" || strings.ContainsAny(parsed.Host, " \t") {
		return false
	}
	switch strings.ToLower(parsed.Scheme) {
	case "nats", "tls", "ws", "wss":
		return true
	}
	return false
}

func authOptions(cfg Config) ([]nats.Option, error) {
	o := cfg.Options
	var ways []string
	for _, name := range []string{"credentials", "nkey", "user", "token"} {
		if o.String(name) != "" {
			ways = append(ways, name)
		}
	}
	switch {
	case len(ways) > 1:
		return nil, diag.New(diag.BadOption, "%s has more than one way to log in: %s", cfg.What, strings.Join(ways,
			", ")).
			WithHint("keep one of them")
	case o.String("password") != "" && o.String("user") == "":
		return nil, diag.New(diag.BadOption, "%s has a password without a user", cfg.What).WithHint("set user")
	case len(ways) == 0:
		return nil, nil
	}
	switch ways[0] {
	case "credentials":
		path := o.String("credentials")
		if err := readable(cfg, "credentials", path); err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserCredentials(path)}, nil
	case "nkey":
		if err := readable(cfg, "nkey", o.String("nkey")); err != nil {
			return nil, err
		}
		option, err := nats.NkeyOptionFromSeed(o.String("nkey"))
		if err != nil {
			return nil, diag.Wrap(diag.BadOption, err, "nkey file %q of %s holds no seed", o.String("nkey"), cfg.What).OfOption("nkey").
				WithHint("give the file with the seed, which begins with SU")
		}
		return []nats.Option{option}, nil
	case "user":
		return []nats.Option{nats.UserInfo(o.String("user"), o.String("password"))}, nil
	}
	return []nats.Option{nats.Token(o.String("token"))}, nil
}

func tlsOptions(cfg Config) ([]nats.Option, error) {
	o := cfg.Options
	ca, cert, key := o.String("tls_ca"), o.String("tls_cert"), o.String("tls_key")
	if (cert == "") != (key == "") {
		return nil, diag.New(diag.BadOption, "%s has only one of tls_cert and tls_key",
			cfg.What).WithHint("set both")
	}
	var options []nats.Option
	if ca != "" {
		pem, err := os.ReadFile(ca) //nolint:gosec // a path that the user wrote
		if err != nil {
			return nil, unreadable(err, "tls_ca", cfg)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return nil, diag.New(diag.BadOption, "tls_ca %q of %s holds no PEM certificate", ca, cfg.What).OfOption("tls_ca").
				WithHint("give the file of the authority that signed the server's certificate, as PEM")
		}
		options = append(options, nats.RootCAs(ca))
	}
	if cert != "" {
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			return nil, diag.Wrap(diag.BadOption, err, "load tls_cert and tls_key of %s", cfg.What).OfOption("tls_cert").
				WithHint("give the client certificate and its key as PEM files that this user may read")
		}
		options = append(options, nats.ClientCert(cert, key))
	}
	return options, nil
}

func readable(cfg Config, option, path string) error {
	f, err := os.Open(path) //nolint:gosec // a path that the user wrote
	if err != nil {
		return unreadable(err, option, cfg)
	}
	return f.Close()
}

func unreadable(err error, option string, cfg Config) error {
	return diag.Wrap(diag.ReadFailed, err, "read %s of %s", option, cfg.What).OfOption(option).
		WithHint("put the file there, let this user read it, or correct the path; it is relative to where the process runs")
}

// Conn returns the connection and makes it first if there is none. The first connection fails for good with
// the configured code, so that a wrong address shows at once; later ones fail with a temporary error.
func (c *Client) Conn(ctx context.Context) (*nats.Conn, error) {
	c.connecting.Lock()
	defer c.connecting.Unlock()
	c.mu.Lock()
	conn, closed := c.conn, c.closed
	c.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("connect %s: %w", c.cfg.What, net.ErrClosed)
	}
	if conn != nil && !conn.IsClosed() {
		return conn, nil
	}
	d := &dialer{timeout: c.timeout, dial: c.cfg.Dial}
	conn, err := c.dial(ctx, d)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil, fmt.Errorf("connect %s: %w", c.cfg.What, net.ErrClosed)
	}
	c.conn, c.dialer = conn, d
	return conn, nil
}

func (c *Client) dial(ctx context.Context, d *dialer) (*nats.Conn, error) {
	d.ctx.Store(&ctx)
	options := append([]nats.Option{
		nats.Name("tidemill " + c.cfg.What),
		nats.Timeout(c.timeout),
		nats.SetCustomDialer(d),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 200*time.Millisecond),
		// Nothing is kept while the server is away: a message sent late would belong to a batch that has moved on.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectHandler(c.reconnected),
		nats.ErrorHandler(c.asyncError),
	}, c.options...)
	conn, err := nats.Connect(c.urls, options...)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect %s: %w", c.cfg.What, context.Cause(ctx))
		}
		return nil, c.connectError(err)
	}
	background := context.Background() //nolint:contextcheck // reconnects outlive the call that connected first
	d.ctx.Store(&background)
	if ctx.Err() != nil {
		conn.Close()
		return nil, fmt.Errorf("connect %s: %w", c.cfg.What, context.Cause(ctx))
	}
	return conn, nil
}

// dialer lets the context of the first connection cut it short, the handshake included, and keeps the wire that can be
// tapped.
type dialer struct {
	timeout time.Duration
	dial    Dial
	ctx     atomic.Pointer[context.Context]
	wire    atomic.Pointer[wire] // the last that was made
}

// Dial connects and watches the context for as long as the library may take for its handshake.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	ctx := *d.ctx.Load()
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dial(limited, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // nats.go looks at it
	}
	context.AfterFunc(ctx, func() {
		if now := d.ctx.Load(); *now == ctx {
			_ = conn.Close()
		}
	})
	w := newWire(conn)
	d.wire.Store(w)
	return w, nil
}

// Received returns how many bytes have come over the connection that there is, those of messages that are not whole yet
// included. It begins at 0 with each connection.
func (c *Client) Received() uint64 {
	c.mu.Lock()
	d := c.dialer
	c.mu.Unlock()
	if d == nil {
		return 0
	}
	return d.wire.Load().received.Load()
}

// Answering returns a context for somebody who waits for an answer: it ends after timeout, and as soon as the
// connection breaks, because the answer is lost then.
func (c *Client) Answering(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	limited, stop := context.WithTimeout(ctx, timeout)
	watched, cancel := c.watch(limited)
	return watched, func() {
		cancel()
		stop()
	}
}

// watch returns a context that ends with the connection.
func (c *Client) watch(ctx context.Context) (context.Context, context.CancelFunc) {
	watched, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	c.waiting[&cancel] = struct{}{}
	c.mu.Unlock()
	return watched, func() {
		c.mu.Lock()
		delete(c.waiting, &cancel)
		c.mu.Unlock()
		cancel(nil)
	}
}

func (c *Client) disconnected(conn *nats.Conn, err error) {
	c.mu.Lock()
	for cancel := range c.waiting {
		(*cancel)(nats.ErrDisconnected)
	}
	c.mu.Unlock()
	if c.cfg.Lost != nil {
		c.cfg.Lost()
	}
	if !conn.IsClosed() {
		c.cfg.Log.Warn("connection lost", "to", c.Address(), "for", c.cfg.What, "err", err)
	}
}

func (c *Client) reconnected(*nats.Conn) {
	if c.cfg.Lost != nil {
		c.cfg.Lost()
	}
	c.cfg.Log.Info("connected again", "to", c.Address(), "for", c.cfg.What)
}

func (c *Client) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	c.cfg.Log.Warn("server complains", "to", c.Address(), "for", c.cfg.What, "err", err)
}

// Address returns the configured addresses without users and passwords.
func (c *Client) Address() string {
	list := strings.Split(c.urls, ",")
	for i, u := range list {
		list[i] = diag.Redact(strings.TrimSpace(u))
	}
	return strings.Join(list, ",")
}

func (c *Client) connectError(err error) error {
	wrong := diag.New(c.cfg.Code, "%s can not reach the server at %s: %s", c.cfg.What, c.Address(), err)
	wrong.Err = err
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case denied(err):
		wrong.Message = fmt.Sprintf("the server at %s refuses the login of %s: %s", c.Address(), c.cfg.What, err)
		return wrong.WithHint("set one of credentials, nkey, user and password, or token to what the server knows")
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &record):
		return wrong.WithHint("set tls_ca to the authority of the server's certificate, and use the name it is issued for")
	}
	if text := err.Error(); strings.Contains(text, "tls: ") || strings.Contains(text, "tls error") {
		return wrong.WithHint("set tls_cert and tls_key to a certificate that the server accepts, and tls_ca to the authority " +
			"of its own")
	}
	wrong = wrong.WithHint("start the server there, or set url to where it is; run, batch, backfill, sql, tail, drop and doctor bring one along with --embedded-nats")
	if c.worked.Load() {
		return diag.Retry(wrong)
	}
	return wrong
}

func denied(err error) bool {
	text := strings.ToLower(err.Error())
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || strings.Contains(text, "authorization violation") ||
		strings.Contains(text, "authentication")
}

// Close closes the connection. It is idempotent.
func (c *Client) Close() {
	c.mu.Lock()
	conn := c.conn
	c.conn, c.closed = nil, true
	c.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}
