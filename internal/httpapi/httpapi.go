// Package httpapi shows what the engine reports over HTTP: /metrics for Prometheus, /livez and /readyz for
// supervisors. It reads only and never changes a query's result. It binds to loopback unless told otherwise, and
// answers only requests whose Host is a name of the address it listens on, so that a web page can not reach it by
// rebinding a name.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
)

// Server collects what queries report and serves it.
type Server struct {
	registry *prometheus.Registry
	metrics  *metrics
	http     *http.Server
	listener net.Listener
	served   chan error

	mu      sync.Mutex
	queries map[string]string // guarded by mu: query -> state
}

// New returns a server that does not listen yet. Its Listener may be used at once.
func New() *Server {
	s := &Server{registry: prometheus.NewRegistry(), queries: map[string]string{}}
	s.metrics = newMetrics(s.registry)
	return s
}

// Start listens on addr ("127.0.0.1:0" for any free port) and serves until Stop.
func (s *Server) Start(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return diag.New(diag.Usage, "can not listen on %s: %s", addr, listenReason(err)).
			WithHint("choose another port with --listen, or --listen off")
	}
	s.listener = l
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	s.served = make(chan error, 1)
	go func() { s.served <- s.http.Serve(l) }() // ends with Stop
	return nil
}

func listenReason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// Addr returns the address that is listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop ends serving and waits. It may be called on a server that never started.
func (s *Server) Stop(ctx context.Context) error {
	if s.http == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if serr := <-s.served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	if err != nil {
		return fmt.Errorf("stop the HTTP server: %w", err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	return s.sameHost(mux)
}

// sameHost refuses requests for a host that is not ours, which is how a rebound DNS name looks.
func (s *Server) sameHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		bound, _, _ := net.SplitHostPort(s.Addr())
		ip := net.ParseIP(bound)
		local := ip != nil && ip.IsLoopback()
		if local && host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "unknown host", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		next.ServeHTTP(w, r)
	})
}

// ready answers 200 while every query runs, else 503, with the state of each.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	states := make(map[string]string, len(s.queries))
	ok := len(s.queries) > 0
	for name, state := range s.queries {
		states[name] = state
		ok = ok && state == "running"
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": ok, "queries": states}) // the client went away
}

func (s *Server) set(query, state string) {
	s.mu.Lock()
	s.queries[query] = state
	s.mu.Unlock()
}

// Listener returns the callbacks that feed the server. They may run on several goroutines.
func (s *Server) Listener() engine.Listener {
	m := s.metrics
	return engine.Listener{
		QueryStarted: func(e engine.Started) {
			s.set(e.Query, "running")
			m.started(e)
		},
		BatchDone: func(p engine.Progress) {
			s.set(p.Name, "running")
			m.batch(p)
		},
		BatchRetried: func(e engine.Retried) {
			s.set(e.Query, "retrying")
			m.retries.WithLabelValues(e.Query).Inc()
		},
		SnapshotDone: func(e engine.SnapshotDone) { m.snapshots.WithLabelValues(e.Query).Observe(e.Duration.Seconds()) },
		QueryStopped: func(e engine.Stopped) {
			state := "stopped"
			if e.Err != nil {
				state = "failed"
			}
			s.set(e.Query, state)
		},
	}
}
