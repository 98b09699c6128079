package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func (r *run) brokerDir() string { return filepath.Join(r.Dir, "nats") }

// startBroker starts the broker and connects the driver to it.
func (r *run) startBroker(ctx context.Context) (err error) {
	if r.broker, err = startBroker(ctx, r.Options, r.brokerDir()); err != nil {
		return err
	}
	if r.client, err = dial(r.broker.url); err != nil {
		return errors.Join(err, r.stopBroker())
	}
	return nil
}

// stopBroker stops it, if it runs.
func (r *run) stopBroker() error {
	if r.client != nil {
		r.client.close()
		r.client = nil
	}
	if r.broker == nil {
		return nil
	}
	b := r.broker
	r.broker = nil
	return b.stop()
}

// brokerURL is where workers find the broker, "" if there is none.
func (r *run) brokerURL() string {
	if r.broker == nil {
		return ""
	}
	return r.broker.url
}

// workerEnv is a worker's environment: that of the driver, the run's folder, and where the broker is, or nothing of brokers.
func workerEnv(driver []string, url, dir string) []string {
	const broker = "NATS_URL="
	env := append(slices.Clone(driver), "BENCH_DIR="+dir)
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, broker) })
	if url != "" {
		env = append(env, broker+url)
	}
	return env
}

// lendBroker calls work with the flags that let workers of dir read what the broker has. With Embedded these start it in
// their own process, on the same streams; it is another process again when lendBroker returns.
func (r *run) lendBroker(ctx context.Context, dir string, work func(flags []string) error) error {
	if !r.Embedded || r.broker == nil {
		return work(nil)
	}
	if err := r.stopBroker(); err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("make the worker's folder: %w", err)
	}
	if err := os.Symlink(r.brokerDir(), filepath.Join(data, "nats")); err != nil {
		return fmt.Errorf("lend the streams to the worker: %w", err)
	}
	if err := work([]string{"--embedded-nats", "--nats-port", "0"}); err != nil {
		return err
	}
	return r.startBroker(ctx)
}
