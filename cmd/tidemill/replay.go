package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/letters"
)

// replayedName is the durable note of what was sent again, beside the letters.
const replayedName = "replayed.jsonl"

// replayFlags are the flags of dlq replay.
type replayFlags struct {
	letterFilter
	natsFlags
	to     string
	again  bool
	dryRun bool
}

func (e *env) dlqReplayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay QUERY --to SUBJECT|FILE",
		Short: "send the original bytes of letters again, to a JetStream subject or to the end of a file",
		Long: "Replay is at least once: what it has sent is noted after it is stored, so a replay that was cut short may send a\n" +
			"letter twice. To JetStream each has a Nats-Msg-Id for this subject and this attempt, by which the stream drops the\n" +
			"second within its duplicate window; such letters are counted as already there. Of a message with many rows only the letter's own row is sent.\n" +
			"What was sent to the same place before is left out, unless --again.",
		Example: "  tidemill dlq replay orders --kind dead --to orders.retry\n  tidemill dlq replay orders --to ./letters.ndjson",
		Args:    exactArgs("QUERY"),
	}
	dataDir := c.Flags().String("data-dir", e.defaultDataDir(),
		"directory of logs, checkpoints and dead letters")
	f.letterFilter.flags(c)
	f.natsFlags.flags(c, e)
	c.Flags().StringVar(&f.to, "to", "",
		"a subject, or a file if it has a slash or ends in .ndjson, .jsonl, .json or .txt")
	c.Flags().BoolVar(&f.again, "again", false, "send letters that were sent there before, too")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be sent")
	c.RunE = func(c *cobra.Command, args []string) error {
		return e.dlqReplay(c.Context(), *dataDir, args[0],
			f)
	}
	return c
}

// sender takes payloads, each under an id, and says when all are stored.
type sender interface {
	send(ctx context.Context, id string, payload []byte) error
	// refusing has payloads that are larger than what is sent to takes told by their ids, by the end of flush, and left out. They are faults
	// otherwise.
	refusing(tell func(id string, fault error))
	flush(ctx context.Context) error
	duplicates() int64 // of what was flushed, payloads that were there under their ids already and are there once
	close() error
}

func (e *env) dlqReplay(ctx context.Context, dataDir, query string, f replayFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if f.to == "" {
		return diag.New(diag.Usage, "replay needs --to").WithHint("name a JetStream subject or a file")
	}
	dir, err := queryDir(dataDir, query)
	if err != nil {
		return err
	}
	s, err := checkpoint.Inspect(vfs.OS{}, dir)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	replayed, err := readReplayed(dir)
	if err != nil {
		return err
	}
	ctx, done := e.cancelled(ctx)
	defer done()
	job := replayJob{uuid: s.Meta.UUID, dir: dir, target: f.to, notes: replayed, now: e.clock.Now}
	todo, skipped, err := pickLetters(dir, f, replayed)
	if err != nil {
		return err
	}
	var refused []refusal
	if !f.dryRun && len(todo) > 0 {
		if job.out, err = e.openSender(ctx, f.to, f.natsFlags); err != nil {
			return err
		}
		defer func() {
			if cerr := job.out.close(); err == nil {
				err = cerr
			}
		}()
		if refused, err = job.run(ctx, todo); err != nil {
			return aborted(ctx, err)
		}
	}
	verb, sent := "sent", int64(len(todo)-len(refused))
	if f.dryRun {
		verb = "would send"
	}
	if job.out != nil {
		sent -= job.out.duplicates()
	}
	fmt.Fprintf(e.stdout, "%s %s to %s (at least once)\n", verb, plural(sent, "letter"), f.to)
	if there := int64(len(todo)-len(refused)) - sent; there > 0 {
		fmt.Fprintf(e.stdout, "%s already there: a replay that was cut short had sent them\n", plural(there, "letter"))
	}
	if skipped > 0 {
		fmt.Fprintf(e.stdout, "%s left out: sent there before, or without bytes to send\n",
			plural(int64(skipped), "letter"))
	}
	return refusedLetters(query, f.to, refused)
}

// refusal is a letter that is larger than what it was sent to takes.
type refusal struct {
	letters.Letter
	fault error
}

// refusedLetters is the fault of letters that were left out, or nil if there are none.
func refusedLetters(query, to string, refused []refusal) error {
	if len(refused) == 0 {
		return nil
	}
	const named = 10
	fault := diag.New(diag.SinkFailed, "%s can not be sent to %s: %s", plural(int64(len(refused)), "letter"), to, message(refused[0].fault))
	for _, r := range refused[:min(len(refused), named)] {
		fault = fault.WithNote("%s, row %d, of source %q in batch %d has %s", r.Place(), r.Index, r.Source, r.Batch,
			plural(int64(len(letterBytes(r.Letter))), "byte"))
	}
	if more := len(refused) - named; more > 0 {
		fault = fault.WithNote("and %s more", plural(int64(more), "letter"))
	}
	return fault.WithHint("raise max_payload of the server, or max_msg_size of the stream, and replay again: the others are left out then; or put "+
		"it into a file:  tidemill dlq replay %s --batch %d --source %s --to ./letters.ndjson", query, refused[0].Batch, refused[0].Source)
}

// pickLetters returns what is to be sent. Several letters with the same bytes of one message are sent once.
func pickLetters(dir string, f replayFlags, replayed replayNotes) (todo []letters.Letter, skipped int,
	err error) {
	seen := map[string]bool{}
	err = f.each(dir, func(l letters.Letter) (bool, error) {
		body := letterBytes(l)
		key := fmt.Sprintf("%s %d %d %s", l.Source, l.Batch, l.Sequence, body)
		if body == nil || seen[key] || !f.again && replayed[noteKey{f.to, letterID(l)}] > 0 {
			skipped++
			return true, nil
		}
		seen[key] = true
		todo = append(todo, l)
		return true, nil
	})
	return todo, skipped, err
}

// letterBytes returns the original bytes of a letter: its message, or its own row of a message with several. Where the
// source gives rows, or they can not be cut out of the message, it is the decoded row as JSON.
func letterBytes(l letters.Letter) []byte {
	if l.Payload != nil {
		return l.Payload
	}
	return l.Row
}

func letterID(l letters.Letter) string {
	return fmt.Sprintf("%s-%d-%d-%d", l.Source, l.Batch, l.Sequence, l.Index)
}

// replayJob sends letters and notes what was stored.
type replayJob struct {
	uuid   string
	dir    string
	target string
	notes  replayNotes
	now    func() time.Time
	out    sender
}

// replayChunk is how many letters are sent before they are noted.
const replayChunk = 500

// run sends letters, all but those that are refused, which it returns.
func (j replayJob) run(ctx context.Context, todo []letters.Letter) (refused []refusal, err error) {
	faults := map[string]error{}
	j.out.refusing(func(id string, fault error) { faults[id] = fault })
	for len(todo) > 0 {
		part := todo[:min(replayChunk, len(todo))]
		todo = todo[len(part):]
		for _, l := range part {
			if err := j.out.send(ctx, j.messageID(l), letterBytes(l)); err != nil {
				return nil, err
			}
		}
		if err := j.out.flush(ctx); err != nil {
			return nil, err
		}
		var stored []letters.Letter
		for _, l := range part {
			if fault := faults[j.messageID(l)]; fault != nil {
				refused = append(refused, refusal{l, fault})
			} else {
				stored = append(stored, l)
			}
		}
		if err := j.note(stored); err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// messageID is by which a stream knows a letter that comes a second time because its replay was cut short. Another
// subject, and another replay on purpose, are other messages.
func (j replayJob) messageID(l letters.Letter) string {
	id := letterID(l)
	return fmt.Sprintf("tidemill-dlq-%s-%s-%d-%s", j.uuid, id, j.notes[noteKey{j.target, id}], j.target)
}

// note makes durable that the letters were sent.
func (j replayJob) note(part []letters.Letter) error {
	var lines bytes.Buffer
	for _, l := range part {
		data, err := json.Marshal(replayNote{To: j.target, Letter: letterID(l), At: j.now()})
		if err != nil {
			return fmt.Errorf("note what was sent: %w", err)
		}
		lines.Write(append(data, '\n'))
	}
	f, err := os.OpenFile(filepath.Join(j.dir, letterDir, replayedName), os.O_CREATE|os.O_APPEND|os.O_WRONLY,
		0o600)
	if err != nil {
		return fmt.Errorf("note what was sent: %w", err)
	}
	_, err = f.Write(lines.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note what was sent: %w", err)
	}
	return nil
}

// replayNote is one line of the note.
type replayNote struct {
	To     string    `json:"to"`
	Letter string    `json:"letter"`
	At     time.Time `json:"at"`
}

type noteKey struct{ to, letter string }

// replayNotes say how often each letter was sent, by where to.
type replayNotes map[noteKey]int

func (n replayNotes) anywhere(l letters.Letter) bool {
	return n[noteKey{"", letterID(l)}] > 0
}

// readReplayed reads the note. A torn last line is a letter that may be sent again.
func readReplayed(dir string) (replayNotes, error) {
	notes := replayNotes{}
	data, err := os.ReadFile(filepath.Join(dir, letterDir, replayedName))
	if errors.Is(err, fs.ErrNotExist) {
		return notes, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was replayed: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		var n replayNote
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			continue
		}
		notes[noteKey{n.To, n.Letter}]++
		notes[noteKey{"", n.Letter}]++
	}
	return notes, nil
}
