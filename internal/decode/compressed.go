package decode

import (
	"fmt"

	"github.com/tidemill/tidemill/internal/compression"
	"github.com/tidemill/tidemill/internal/diag"
)

const (
	// compressedMax is what a payload may have when decompressed: as much as the largest message that a NATS server takes.
	compressedMax = 64 << 20
	// compressedAll is what those of one Result may have together: less than a column can hold, beside payloads that are plain. The
	// range of a batch is logged before anybody knows what its payloads decompress to, so that those beyond it must not be an error.
	compressedAll = 1920 << 20
)

// decompressor restores compressed payloads.
type decompressor struct {
	*compression.Decompressor
	bytes int // of payloads that were compressed, in the Result at hand, or the one before
	rows  int // in the Result before
	most  int // of them: what would be more is a fault
}

// newDecompressor returns nil where payloads are taken as they are.
func newDecompressor(option string) (*decompressor, error) {
	switch option {
	case "", "none":
		return nil, nil
	case "auto":
		return &decompressor{Decompressor: compression.NewDecompressor(compressedMax), most: compressedAll}, nil
	}
	return nil, diag.New(diag.BadOption, "compression %q is not known", option).OfOption("compression").
		WithHint("write none or auto")
}

// one decodes one message. One that is compressed is decompressed just before, into memory that the processor still has at
// hand when it is looked at.
func (d *Decoder) one(msg int, payload []byte) {
	if d.packed == nil || !compression.Compressed(payload) {
		d.payload(d, msg, payload)
		return
	}
	m := d.mark()
	text, err := d.packed.Decompress(payload)
	if err != nil {
		d.badPayload(m, msg, len(payload), "the message can not be decompressed: "+err.Error())
		return
	}
	if len(text) > d.packed.most-d.packed.bytes {
		d.badPayload(m, msg, len(payload), fmt.Sprintf("the messages of its batch have more than %d bytes when decompressed: "+
			"lower max_bytes_per_batch or max_rows_per_batch of the source, and replay it", d.packed.most))
		return
	}
	d.packed.bytes += len(text)
	d.payload(d, msg, text)
	for i := m.bad; i < len(d.bad); i++ {
		if f := &d.bad[i]; f.Index == wholePayload {
			f.Start, f.End = 0, len(payload)
		} else if f.part(len(text)) {
			d.keep(i, m.bad, text)
		}
	}
}

// Plain returns what a payload holds under an option `compression`: itself, unless it is compressed and the option says that it
// may be, then a copy. nil if it can not be decompressed. It may be called beside a Decoder.
func Plain(option string, payload []byte) []byte {
	d, err := newDecompressor(option)
	if err != nil || d == nil || !compression.Compressed(payload) {
		return payload
	}
	if payload, err = d.Decompress(payload); err != nil {
		return nil
	}
	return payload
}
