package natsconn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
)

// JetStream error codes that callers tell apart.
const (
	ErrStreamNotFound    = 10059
	ErrConsumerNotFound  = 10014
	ErrQueueTaken        = 10099 // a work-queue stream has a consumer without filter already
	ErrQueueSubjectTaken = 10100 // or one whose filter overlaps
	ErrMessageNotFound   = 10037
	ErrWrongLastMsgID    = 10070
	ErrWrongLastSeq      = 10071
	ErrWrongLastSeqAny   = 10164 // without the sequence that is there
	ErrStreamNameInUse   = 10058
	ErrBatchTooLarge     = 10199 // an atomic batch has more messages than the server takes
	ErrBatchIncomplete   = 10176 // messages of an atomic batch are missing, or it was forgotten
)

// APIError is what the server answers when it refuses a JetStream request.
type APIError struct {
	Code        int    `json:"code"` // as in HTTP
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// Error returns the server's words and number.
func (e *APIError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// Temporary reports whether the server may answer otherwise soon.
func (e *APIError) Temporary() bool {
	const notEnabled, notEnabledForAccount = 10076, 10039
	if e.ErrCode == ErrBatchIncomplete || e.ErrCode == ErrBatchTooLarge {
		return true // sent again, as much as the server takes
	}
	return (e.Code == 503 || e.Code == 429) && e.ErrCode != notEnabled && e.ErrCode != notEnabledForAccount
}

// IsAPI reports whether err is the server's refusal with one of the codes.
func IsAPI(err error, codes ...int) bool {
	var api *APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrCode == c {
			return true
		}
	}
	return false
}

// API sends a JetStream request and decodes its answer into response, which may be nil. The subject has no
// prefix. A refusal is an *APIError in the chain; silence and broken connections are temporary errors.
func (c *Client) API(ctx context.Context, subject string, request, response any) error {
	body := []byte(nil)
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return fmt.Errorf("encode request %s: %w", subject, err)
		}
	}
	msg, err := c.Request(ctx, &nats.Msg{Subject: c.prefix + subject, Data: body})
	if err != nil {
		return err
	}
	var head struct {
		Error *APIError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &head); err != nil {
		return fmt.Errorf("decode answer to %s: %w", subject, err)
	}
	if head.Error != nil {
		return fmt.Errorf("%s for %s: %w", subject, c.cfg.What, head.Error)
	}
	if response == nil {
		return nil
	}
	if err := json.Unmarshal(msg.Data, response); err != nil {
		return fmt.Errorf("decode answer to %s: %w", subject, err)
	}
	return nil
}

// Request sends a message and waits for its answer, at most connect_timeout.
func (c *Client) Request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	conn, err := c.Conn(ctx)
	if err != nil {
		return nil, err
	}
	limited, cancel := c.Answering(ctx, c.timeout)
	defer cancel()
	answer, err := conn.RequestMsgWithContext(limited, msg)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask %s: %w", msg.Subject, context.Cause(ctx))
		}
		if cause := context.Cause(limited); errors.Is(cause, nats.ErrDisconnected) {
			err = cause
		}
		return nil, c.Silent(conn, err)
	}
	c.worked.Store(true)
	return answer, nil
}

// Silent turns the error of a publish or request that got no answer into a coded one, temporary unless the
// server has never answered for want of JetStream.
func (c *Client) Silent(conn *nats.Conn, err error) error {
	wrong := diag.New(c.cfg.Code, "the server at %s does not answer %s: %s", c.Address(), c.cfg.What, err)
	wrong.Err = err
	switch last := conn.LastError(); {
	case errors.Is(err, nats.ErrMaxPayload):
		return err
	case errors.Is(err, nats.ErrNoResponders) && !c.worked.Load():
		return wrong.WithHint("start the server with JetStream (nats-server -js), and check domain")
	case last != nil && denied(last):
		return c.connectError(last)
	case errors.Is(last, nats.ErrPermissionViolation):
		return wrong.WithNote("the server said: %s", last).
			WithHint("allow the user to publish to $JS.API.> and to subscribe to _INBOX.>")
	}
	return diag.Retry(wrong.WithHint("the connection may come back by itself; look at the server if it does not"))
}

// What returns whom the connection is for, such as `source "orders"`.
func (c *Client) What() string { return c.cfg.What }

// Prefix returns what stands before the subject of a JetStream request.
func (c *Client) Prefix() string { return c.prefix }

// Timeout returns how long an answer may take.
func (c *Client) Timeout() time.Duration { return c.timeout }

// StreamInfo is what the connectors need to know of a stream.
type StreamInfo struct {
	Config  StreamConfig `json:"config"`
	Created time.Time    `json:"created"`
	State   StreamState  `json:"state"`
	Cluster struct {
		Name   string `json:"name"`   // empty outside of a cluster
		Leader string `json:"leader"` // the server that answers
	} `json:"cluster"`
}

// StreamConfig is a part of a stream's configuration. The field names are NATS's.
type StreamConfig struct {
	Name              string   `json:"name"`
	Subjects          []string `json:"subjects,omitempty"`
	Retention         string   `json:"retention"` // limits, interest, workqueue
	Storage           string   `json:"storage"`
	Replicas          int      `json:"num_replicas"`
	MaxMsgs           int64    `json:"max_msgs"`
	MaxBytes          int64    `json:"max_bytes"`
	MaxAge            int64    `json:"max_age"` // nanoseconds
	MaxMsgsPerSubject int64    `json:"max_msgs_per_subject"`
	AllowMsgTTL       bool     `json:"allow_msg_ttl,omitempty"`
	AllowRollup       bool     `json:"allow_rollup_hdrs,omitempty"`
	AllowAtomic       bool     `json:"allow_atomic,omitempty"`
}

// StreamState is a part of a stream's state. An empty stream has FirstSeq = LastSeq + 1.
type StreamState struct {
	Msgs     uint64   `json:"messages"`
	Bytes    uint64   `json:"bytes"`
	FirstSeq uint64   `json:"first_seq"`
	LastSeq  uint64   `json:"last_seq"`
	Deleted  []uint64 `json:"deleted"` // only if asked for
}

// Identity names the life of a stream: a stream that is deleted and made again has another.
func (i *StreamInfo) Identity() string {
	return i.Config.Name + "@" + i.Created.UTC().Format(time.RFC3339Nano)
}

// Place names the stream among all streams of all servers, whatever address, domain or import it was reached by: its
// life, and the cluster or single server that holds it, since a copy that was restored elsewhere has the same life.
func (i *StreamInfo) Place() string {
	holder := i.Cluster.Name
	if holder == "" {
		holder = i.Cluster.Leader
	}
	return i.Identity() + " at " + holder
}

// StreamInfo asks the stream's leader. A missing stream is an *APIError with ErrStreamNotFound.
func (c *Client) StreamInfo(ctx context.Context, stream string, deleted bool) (*StreamInfo, error) {
	var request any
	if deleted {
		request = map[string]bool{"deleted_details": true}
	}
	info := new(StreamInfo)
	if err := c.API(ctx, "STREAM.INFO."+stream, request, info); err != nil {
		return nil, err
	}
	// A stream that never held a message says first_seq 0.
	if info.State.Msgs == 0 {
		info.State.FirstSeq = info.State.LastSeq + 1
	}
	return info, nil
}

// StoredMsg is one message of a stream.
type StoredMsg struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Header  []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// MsgGet names the message that GetMsg reads: Seq alone, the last of a subject, or the first of a subject
// filter at or after Seq.
type MsgGet struct {
	Seq           uint64 `json:"seq,omitempty"`
	LastBySubject string `json:"last_by_subj,omitempty"`
	NextBySubject string `json:"next_by_subj,omitempty"`
}

// GetMsg reads one message at the stream's leader, isolated from batches that are half written. It returns
// nil without an error if there is none.
func (c *Client) GetMsg(ctx context.Context, stream string, which MsgGet) (*StoredMsg, error) {
	var answer struct {
		Message *StoredMsg `json:"message"`
	}
	err := c.API(ctx, "STREAM.MSG.GET."+stream, which, &answer)
	if IsAPI(err, ErrMessageNotFound) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, err
	}
	return answer.Message, nil
}

// StreamOf returns the name of the stream that takes messages of a subject, or "".
func (c *Client) StreamOf(ctx context.Context, subject string) (string, error) {
	var answer struct {
		Streams []string `json:"streams"`
	}
	if err := c.API(ctx, "STREAM.NAMES", map[string]string{"subject": subject}, &answer); err != nil {
		return "", err
	}
	if len(answer.Streams) == 0 {
		return "", nil
	}
	return answer.Streams[0], nil
}

// Missing returns the error for a stream that does not exist.
func (c *Client) Missing(stream string) error {
	return diag.New(c.cfg.Code, "%s: stream %q does not exist at %s", c.cfg.What, stream, c.Address()).
		WithHint("create it (nats stream add %s), or correct the option stream, domain or url", stream)
}
