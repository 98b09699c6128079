package jetstream

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
)

// Streams with work-queue or interest retention drop what their consumers have acknowledged. The source reads them
// through a durable consumer that is named after the query (AckAll; on a work queue, where the server insists on it,
// AckExplicit with every message acknowledged in order), so that
//
//   - the server keeps every message until Acknowledge, which the engine calls only for what a durable state version
//     holds. What a range gave was spooled and synced before, so acknowledged or not, it reads the same again;
//   - a new life, or a new connection, resets the consumer to its acknowledgement floor and gets everything after it
//     once more, in order. What comes at or below the position that is read next is not new and is dropped. So a crash
//     between spool and acknowledgement loses nothing and doubles nothing;
//   - on a work-queue stream the server admits one consumer per subject: a second query is refused (SOURCE_TAKEN). On
//     an interest stream each query has a consumer of its own and gets all that was published since it began.
const (
	metaQuery  = "tidemill_query"
	metaSource = "tidemill_source"
	// ackWait is when the server sends messages again that nobody acknowledged. A live source drops them, and a new
	// one resets the consumer anyway, so it only must not be short.
	ackWait = 24 * time.Hour
)

// queued reports whether the stream drops what has been acknowledged.
func queued(c natsconn.StreamConfig) bool {
	return c.Retention == "workqueue" || c.Retention == "interest"
}

// admitQueue refuses to read a stream that drops what was acknowledged for anybody but a query that owns it.
func (s *source) admitQueue(c natsconn.StreamConfig) error {
	refuse := func(why string) *diag.Error {
		return diag.New(diag.BadOption, "source %q: stream %q has %s retention, %s", s.cfg.Name, s.stream, c.Retention, why)
	}
	switch {
	case !queued(c):
		return nil
	case s.cfg.Query == "" || s.cfg.FS == nil:
		return refuse("so its messages can not be read again, and only a running query may take them").
			WithHint("mirror it into a stream with limits retention (nats stream add NEW --mirror %s) and read that", s.stream)
	case s.begin.word != "earliest":
		return refuse("where every message waits for its reader, so it is read from its beginning").
			WithHint("leave start out, or purge what is not wanted")
	}
	return nil
}

// durableName is the name of the query's consumer.
func (s *source) durableName() string {
	return fmt.Sprintf("tidemill-%s-%08x", s.cfg.Query, crc32.ChecksumIEEE([]byte(s.cfg.Name)))
}

// prepare finds out once how the stream is read, and makes the durable consumer where it takes one. Only a new query
// may make one on an interest stream, because messages that nobody waits for are dropped.
func (s *source) prepare(ctx context.Context, fresh bool) error {
	s.mu.Lock()
	prepared := s.prepared
	s.mu.Unlock()
	if prepared {
		return nil
	}
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	if queued(info.Config) {
		if !fresh && info.Config.Retention == "interest" {
			if err := s.stillWaiting(ctx); err != nil {
				return err
			}
		}
		if err := s.makeDurable(ctx, info.Config.Retention); err != nil {
			return err
		}
		s.feed.setDurable(s.durableName(), info.Config.Retention == "workqueue")
	}
	s.mu.Lock()
	s.prepared = true
	s.mu.Unlock()
	return nil
}

// stillWaiting checks that the consumer for which the server keeps the messages is there.
func (s *source) stillWaiting(ctx context.Context) error {
	name := s.durableName()
	err := s.client.API(ctx, "CONSUMER.INFO."+s.stream+"."+name, nil, nil)
	if natsconn.IsAPI(err, natsconn.ErrConsumerNotFound) && !s.skip {
		return diag.New(diag.DataLoss, "source %q: consumer %q of stream %q is gone, and what came since may be gone with it",
			s.cfg.Name, name, s.stream).
			WithHint("set on_data_loss = 'skip' to go on with what is there, or start the query in a new data dir")
	}
	if natsconn.IsAPI(err, natsconn.ErrConsumerNotFound) {
		return nil
	}
	return s.fault(err)
}

// makeDurable makes the query's consumer; one that is there stays as it is.
func (s *source) makeDurable(ctx context.Context, retention string) error {
	name, policy := s.durableName(), "all"
	if retention == "workqueue" {
		policy = "explicit"
	}
	config := map[string]any{
		"durable_name": name, "name": name, "description": "tidemill source " + s.cfg.Name, "deliver_policy": "all",
		"ack_policy": policy, "ack_wait": ackWait, "max_ack_pending": -1, "max_deliver": -1, "replay_policy": "instant",
		"max_waiting": 8, "metadata": map[string]string{metaQuery: s.cfg.Query, metaSource: s.cfg.Name},
	}
	filterInto(config, s.filters)
	request := map[string]any{"stream_name": s.stream, "config": config}
	err := s.client.API(ctx, "CONSUMER.DURABLE.CREATE."+s.stream+"."+name, request, nil)
	if natsconn.IsAPI(err, natsconn.ErrQueueTaken, natsconn.ErrQueueSubjectTaken) {
		return s.taken(ctx)
	}
	if err != nil {
		return s.fault(fmt.Errorf("create durable consumer: %w", err))
	}
	return nil
}

// taken says who takes the messages of a work-queue stream already.
func (s *source) taken(ctx context.Context) error {
	var list struct {
		Consumers []struct {
			Name   string `json:"name"`
			Config struct {
				Metadata map[string]string `json:"metadata"`
			} `json:"config"`
		} `json:"consumers"`
	}
	err := s.client.API(ctx, "CONSUMER.LIST."+s.stream, map[string]int{"offset": 0}, &list)
	if err != nil {
		return s.fault(err)
	}
	e := diag.New(diag.SourceTaken,
		"source %q: stream %q is a work queue, and another consumer takes its messages already: each goes to one reader",
		s.cfg.Name, s.stream)
	for _, c := range list.Consumers {
		switch uuid := c.Config.Metadata[metaQuery]; uuid {
		case "":
			e = e.WithNote("consumer %q", c.Name)
		default:
			e = e.WithNote("consumer %q is source %q of the query with uuid %s", c.Name, c.Config.Metadata[metaSource], uuid)
		}
	}
	return e.WithHint("read one subject each, mirror the stream into one with limits retention for more readers, or, " +
		"if that query is gone for good, remove its consumer (nats consumer rm)")
}

func filterInto(config map[string]any, filters []string) {
	if len(filters) == 1 {
		config["filter_subject"] = filters[0]
	} else if len(filters) > 1 {
		config["filter_subjects"] = filters
	}
}

// startFeed starts the feed after a sequence in the way the stream is read.
func (s *source) startFeed(ctx context.Context, after uint64, check func(*natsconn.StreamInfo) error) error {
	if err := s.prepare(ctx, false); err != nil {
		return err
	}
	return s.feed.start(ctx, after, check)
}

// ackStep is how many messages are acknowledged before the server must say that it has kept up.
const ackStep = 5000

// release tells the server that everything up to a sequence may be dropped. A fault is no harm: the next state version
// acknowledges it too, and what comes again is dropped.
func (s *source) release(ctx context.Context, upTo uint64) {
	err := s.acknowledge(ctx, upTo)
	if err != nil {
		s.cfg.Log.Warn("the server did not take an acknowledgement; the next one covers it",
			"offset", upTo, "err", err)
	}
}

func (s *source) acknowledge(ctx context.Context, upTo uint64) error {
	runs, reply, each := s.feed.unacknowledged(upTo)
	if len(runs) == 0 {
		return nil
	}
	if !each {
		last := runs[len(runs)-1]
		runs = []run{{last.sequence + last.count - 1, last.delivery + last.count - 1, 1}}
	}
	conn, err := s.client.Conn(ctx)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	sent := 0
	for i, r := range runs {
		for n := range r.count {
			msg := &nats.Msg{Subject: ackSubject(reply, r.sequence+n, r.delivery+n), Data: []byte("+ACK")}
			if sent++; sent%ackStep != 0 && (i < len(runs)-1 || n < r.count-1) {
				err = conn.PublishMsg(msg)
			} else {
				_, err = s.client.Request(ctx, msg)
			}
			if err != nil {
				return fmt.Errorf("acknowledge message %d: %w", r.sequence+n, err)
			}
		}
	}
	s.feed.acknowledged(upTo)
	return nil
}

// deliveries remembers under which number the durable consumer delivered which sequence, because an acknowledgement
// names both. A run is of messages that follow each other in both.
type deliveries struct {
	runs  []run
	reply string // of the first message of this consumer; only its numbers change
}

type run struct {
	sequence, delivery, count uint64
}

func (d *deliveries) add(a ack, reply []byte) {
	if d.reply == "" {
		d.reply = string(reply)
	}
	if n := len(d.runs); n > 0 {
		r := &d.runs[n-1]
		if a.sequence == r.sequence+r.count && a.delivery == r.delivery+r.count {
			r.count++
			return
		}
		if a.sequence < r.sequence+r.count {
			return // sent again
		}
	}
	d.runs = append(d.runs, run{a.sequence, a.delivery, 1})
}

// upTo returns the deliveries of sequences up to last.
func (d *deliveries) upTo(last uint64) []run {
	n := sort.Search(len(d.runs), func(i int) bool { return d.runs[i].sequence > last })
	runs := slices.Clone(d.runs[:n])
	if n > 0 {
		r := &runs[n-1]
		r.count = min(r.count, last-r.sequence+1)
	}
	return runs
}

// drop forgets what upTo gave.
func (d *deliveries) drop(last uint64) {
	for len(d.runs) > 0 && d.runs[0].sequence <= last {
		r := &d.runs[0]
		if n := last + 1 - r.sequence; n < r.count {
			r.sequence, r.delivery, r.count = r.sequence+n, r.delivery+n, r.count-n
			return
		}
		d.runs = d.runs[1:]
	}
}

// ackSubject is where an acknowledgement of a sequence goes, made from the reply subject of another message.
func ackSubject(reply string, sequence, delivery uint64) string {
	tokens := strings.Split(reply, ".")
	first := 5
	if len(tokens) >= 11 {
		first = 7
	}
	if len(tokens) < first+2 {
		return ""
	}
	tokens[first] = strconv.FormatUint(sequence, 10)
	tokens[first+1] = strconv.FormatUint(delivery, 10)
	return strings.Join(tokens, ".")
}
