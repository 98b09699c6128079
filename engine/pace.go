package engine

import (
	"math"
	"time"

	"github.com/tidemill/tidemill/stream"
)

// firstRoom is how many messages a query that has a latency target takes first of each source: the slow start of
// TCP, since what a message costs is not known yet.
const firstRoom = 64

// pace sizes batches toward latency_target. A message that comes while a batch runs waits for that batch and then
// for its own, so a batch may take half of the target. Time grows with messages from a fixed cost on; so the room of
// the next batch is scaled by how far the last one was from its goal, at most by two, up or down. Where batches of
// any size cost more than the goal the target can not be held: a batch then takes twice the fixed cost, since ever
// smaller ones would only fall further behind.
//
// It bounds messages for jetstream and rows for sources that give rows. Ranges are logged before they are read, so
// that a replay takes the same ones whatever the pace was.
type pace struct {
	goal time.Duration // of a batch; zero for batches of any length
	line line
}

func newPace(target time.Duration) pace { return pace{goal: target / 2} }

// bound lowers limit to the room that in has.
func (p *pace) bound(in *input, limit stream.Limit) stream.Limit {
	if p.goal == 0 {
		return limit
	}
	if in.room == 0 {
		in.room = firstRoom
	}
	if limit.Rows == 0 || in.room < limit.Rows {
		limit.Rows = in.room
	}
	return limit
}

// note learns from a batch that took so long over data, the messages of each input.
func (p *pace) note(took time.Duration, inputs []*input, taken func(*input) int64) {
	if p.goal == 0 || took <= 0 {
		return
	}
	var messages int64
	for _, in := range inputs {
		messages += taken(in)
	}
	p.line.add(float64(messages), float64(took))
	ratio := min(2, max(0.5, max(float64(p.goal), 2*p.line.fixed())/float64(took)))
	for _, in := range inputs {
		in.room = nextRoom(in, taken(in), ratio)
	}
}

// nextRoom scales the room of an input that gave n messages. It grows only when it was used up: an input that gives
// all it has shows nothing about larger batches.
func nextRoom(in *input, n int64, ratio float64) int64 {
	switch scaled := int64(math.Ceil(float64(n) * ratio)); {
	case n == 0, ratio >= 1 && n < in.room:
		return in.room
	case in.limit.Rows > 0:
		return min(scaled, in.limit.Rows)
	default:
		return scaled
	}
}

// line is the straight line through the times of batches over their messages, by least squares that forget: an
// exponentially weighted mean, variance and covariance.
type line struct {
	seen              bool
	messages, time    float64 // means
	variance, between float64
	each              float64 // the slope
}

const forget = 1.0 / 32

func (l *line) add(messages, time float64) {
	if !l.seen {
		*l = line{seen: true, messages: messages, time: time}
		return
	}
	dm, dt := messages-l.messages, time-l.time
	l.messages += forget * dm
	l.time += forget * dt
	l.variance = (1 - forget) * (l.variance + forget*dm*dm)
	l.between = (1 - forget) * (l.between + forget*dm*dt)
	if l.variance > 1e-4*l.messages*l.messages { // else batches are alike, and say nothing new of the slope
		l.each = max(0, l.between/l.variance)
	}
}

// fixed is what a batch takes whatever it holds. It is not known before two batches differ.
func (l *line) fixed() float64 {
	if l.each == 0 {
		return 0
	}
	return min(l.time, max(0, l.time-l.each*l.messages))
}
