package generator

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"

	"github.com/tidemill/tidemill/stream"
)

// The independent random numbers that one value may need.
const (
	saltValue = iota
	saltNull
	saltJitter
	saltLate
	saltMore
)

// maker makes the values of one column.
type maker struct {
	dtype                     arrow.DataType
	salt                      uint64
	nulls                     uint64 // share of NULLs, of 1<<53
	add                       func(b array.Builder, m *maker, n, base int64)
	lo, hi                    int64
	floatLo, floatHi, unit    float64
	prefix                    string
	length                    int
	values                    []string
	weights                   []int64 // cumulative
	step, start, jitter, late int64
	fixedStart                bool
	lateShare                 uint64
}

// random returns 64 bits that depend on seed, column, row and purpose only.
func (m *maker) random(n int64, purpose uint64) uint64 {
	return mix(m.salt + uint64(n)*0xD1342543DE82EF95 + purpose*0x2545F4914F6CDD1D)
}

// below returns a number from 0 up to and excluding bound.
func below(r uint64, bound uint64) uint64 {
	if bound == 0 { // the whole range of 64 bits
		return r
	}
	hi, _ := bits.Mul64(r, bound)
	return hi
}

func newMaker(c stream.Column, sp spec, rate int64) (maker, error) {
	m := maker{dtype: c.Arrow}
	if c.Metadata {
		m.add = addMetadata
		return m, nil
	}
	if c.Arrow.ID() == arrow.NULL { // no column can be declared so: its type could not be read, and that is told
		return m, nil
	}
	if sp.kind == "" {
		sp = defaultSpec(c)
	}
	var err error
	if m.nulls, err = sp.takeShare("null", "0%"); err != nil {
		return m, err
	}
	switch sp.kind {
	case "int", "seq", "float":
		err = m.number(c, &sp)
	case "pick":
		err = m.pick(c, &sp)
	case "text":
		err = m.text(c, &sp)
	case "bool":
		m.add = addBool
		m.lateShare, err = sp.takeShare("true", "50%")
		err = firstError(err, want(c, arrow.BOOL))
	case "uuid":
		m.add = addUUID
		err = want(c, arrow.STRING)
	case "time":
		err = m.time(c, &sp, rate)
	case "":
		return m, fmt.Errorf("values of type %s can not be made up; make them in a computed column", c.Type)
	default:
		return m, fmt.Errorf("there is no kind %s(); there are int, seq, float, pick, text, bool, uuid and time", sp.kind)
	}
	return m, firstError(err, sp.rest())
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func want(c stream.Column, ids ...arrow.Type) error {
	for _, id := range ids {
		if c.Arrow.ID() == id {
			return nil
		}
	}
	return fmt.Errorf("this kind does not give %s", c.Type)
}

func defaultSpec(c stream.Column) spec {
	sp := spec{args: map[string]string{}}
	switch c.Arrow.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		sp.kind = "int"
	case arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL128:
		sp.kind = "float"
	case arrow.STRING:
		if sp.kind = "text"; c.Type == "UUID" {
			sp.kind = "uuid"
		}
	case arrow.BOOL:
		sp.kind = "bool"
	case arrow.TIMESTAMP, arrow.DATE32:
		sp.kind = "time"
	}
	return sp
}

// integerRange returns the values that a type can hold, as far as an int64 goes.
func integerRange(t arrow.DataType) (lo, hi int64, ok bool) {
	switch t.ID() {
	case arrow.INT8:
		return math.MinInt8, math.MaxInt8, true
	case arrow.INT16:
		return math.MinInt16, math.MaxInt16, true
	case arrow.INT32:
		return math.MinInt32, math.MaxInt32, true
	case arrow.INT64:
		return math.MinInt64, math.MaxInt64, true
	case arrow.UINT8:
		return 0, math.MaxUint8, true
	case arrow.UINT16:
		return 0, math.MaxUint16, true
	case arrow.UINT32:
		return 0, math.MaxUint32, true
	case arrow.UINT64:
		return 0, math.MaxInt64, true
	}
	return 0, 0, false
}

func (m *maker) number(c stream.Column, sp *spec) error {
	lo, hi, integer := integerRange(c.Arrow)
	switch {
	case sp.kind == "seq" && integer:
		return m.sequence(sp)
	case sp.kind == "int" && integer:
		var err error
		if m.lo, m.hi, err = sp.ints(0, min(hi, 1000)); err == nil && (m.lo < lo || m.hi > hi) {
			err = fmt.Errorf("%d..%d is more than %s can hold", m.lo, m.hi, c.Type)
		}
		m.add = addUniform
		return err
	case sp.kind == "float" && !integer:
		return m.float(c, sp)
	}
	return fmt.Errorf("%s() does not give %s", sp.kind, c.Type)
}

func (m *maker) sequence(sp *spec) error {
	var err1, err2 error
	m.start, err1 = sp.takeInt("start", 0)
	m.step, err2 = sp.takeInt("step", 1)
	m.add = addSequence
	return firstError(err1, err2)
}

func (m *maker) float(c stream.Column, sp *spec) error {
	var err1, err2 error
	var decimals int64
	m.floatLo, m.floatHi, err1 = sp.floats(0, 100)
	decimals, err2 = sp.takeInt("decimals", 2)
	if decimals < 0 || decimals > 15 {
		return fmt.Errorf("decimals=%d is not within 0 and 15", decimals)
	}
	m.unit = math.Pow10(int(decimals))
	m.add = addFloat
	if dt, ok := c.Arrow.(*arrow.Decimal128Type); ok {
		m.add, m.unit = addDecimal, math.Pow10(int(dt.Scale))
		limit := math.Pow10(int(dt.Precision))
		if dt.Scale > 15 || max(math.Abs(m.floatLo), math.Abs(m.floatHi))*m.unit >= min(limit, 1<<62) {
			return fmt.Errorf("%g..%g is more than %s can hold here", m.floatLo, m.floatHi, c.Type)
		}
		return firstError(err1, err2)
	}
	return firstError(firstError(err1, err2), want(c, arrow.FLOAT32, arrow.FLOAT64))
}

func (m *maker) pick(c stream.Column, sp *spec) error {
	var total int64
	for _, v := range strings.Split(sp.list, "|") {
		v = strings.TrimSpace(v)
		weight := int64(1)
		if i := strings.LastIndexByte(v, '*'); i >= 0 {
			w, err := strconv.ParseInt(v[i+1:], 10, 32)
			if err != nil || w <= 0 {
				return fmt.Errorf("%s is not a value with a weight such as DE*5", v)
			}
			v, weight = v[:i], w
		}
		total += weight
		m.values, m.weights = append(m.values, v), append(m.weights, total)
	}
	m.add = addPick
	if c.Arrow.ID() == arrow.STRING {
		return nil
	}
	lo, hi, integer := integerRange(c.Arrow)
	for _, v := range m.values {
		if n, err := strconv.ParseInt(v, 10, 64); !integer || err != nil || n < lo || n > hi {
			return fmt.Errorf("%q is not a value of %s", v, c.Type)
		}
	}
	return nil
}

func (m *maker) text(c stream.Column, sp *spec) error {
	prefix, prefixed := sp.args["prefix"]
	delete(sp.args, "prefix")
	var err error
	if prefixed || sp.hi != "" {
		m.prefix, m.add = prefix, addPrefixed
		m.lo, m.hi, err = sp.ints(1, 1000)
		return firstError(err, want(c, arrow.STRING))
	}
	length, err := sp.takeInt("length", 8)
	if length < 0 || length > 1<<16 {
		return fmt.Errorf("length=%d is not within 0 and 65536", length)
	}
	m.length, m.add = int(length), addLetters
	return firstError(err, want(c, arrow.STRING))
}

func (m *maker) time(c stream.Column, sp *spec, rate int64) error {
	step := time.Millisecond
	if rate > 0 {
		step = max(time.Microsecond, time.Second/time.Duration(rate))
	}
	var errs [4]error
	m.step, errs[0] = sp.takeMicros("step", step)
	m.jitter, errs[1] = sp.takeMicros("jitter", 0)
	m.late, errs[2] = sp.takeMicros("late_by", 10*time.Minute)
	m.lateShare, errs[3] = sp.takeShare("late", "0%")
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if start := sp.take("start", ""); start != "" {
		t, err := parseTime(start)
		if err != nil {
			return err
		}
		m.start, m.fixedStart = t.UnixMicro(), true
	}
	m.add = addTime
	return want(c, arrow.TIMESTAMP, arrow.DATE32)
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.DateTime, "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("start=%s is not a time as YYYY-MM-DD HH:MM:SS", s)
}

func appendInt(b array.Builder, v int64) {
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(v))
	case *array.Int16Builder:
		b.Append(int16(v))
	case *array.Int32Builder:
		b.Append(int32(v))
	case *array.Int64Builder:
		b.Append(v)
	case *array.Uint8Builder:
		b.Append(uint8(v))
	case *array.Uint16Builder:
		b.Append(uint16(v))
	case *array.Uint32Builder:
		b.Append(uint32(v))
	case *array.Uint64Builder:
		b.Append(uint64(v))
	}
}

func addUniform(b array.Builder, m *maker, n, _ int64) {
	appendInt(b, m.uniform(n))
}

func (m *maker) uniform(n int64) int64 {
	return m.lo + int64(below(m.random(n, saltValue), uint64(m.hi)-uint64(m.lo)+1))
}

func addSequence(b array.Builder, m *maker, n, _ int64) { appendInt(b, m.start+n*m.step) }

func (m *maker) fraction(n int64) float64 {
	f := float64(m.random(n, saltValue)>>11) / (1 << 53)
	return math.Round((m.floatLo+f*(m.floatHi-m.floatLo))*m.unit) / m.unit
}

func addFloat(b array.Builder, m *maker, n, _ int64) {
	switch b := b.(type) {
	case *array.Float64Builder:
		b.Append(m.fraction(n))
	case *array.Float32Builder:
		b.Append(float32(m.fraction(n)))
	}
}

func addDecimal(b array.Builder, m *maker, n, _ int64) {
	f := float64(m.random(n, saltValue)>>11) / (1 << 53)
	v, _ := big.NewFloat(math.Round((m.floatLo + f*(m.floatHi-m.floatLo)) * m.unit)).Int(nil)
	b.(*array.Decimal128Builder).Append(decimal128.FromBigInt(v)) //nolint:forcetypeassert // checked by float
}

func addPick(b array.Builder, m *maker, n, _ int64) {
	r := int64(below(m.random(n, saltValue), uint64(m.weights[len(m.weights)-1])))
	i := 0
	for m.weights[i] <= r {
		i++
	}
	if s, ok := b.(*array.StringBuilder); ok {
		s.Append(m.values[i])
		return
	}
	v, _ := strconv.ParseInt(m.values[i], 10, 64)
	appendInt(b, v)
}

func addPrefixed(b array.Builder, m *maker, n, _ int64) {
	b.(*array.StringBuilder).Append(m.prefix + strconv.FormatInt(m.uniform(n), 10)) //nolint:forcetypeassert // checked by text
}

func addLetters(b array.Builder, m *maker, n, _ int64) {
	text := make([]byte, m.length)
	for i := range text {
		text[i] = 'a' + byte(below(m.random(n, saltMore+uint64(i)), 26))
	}
	b.(*array.StringBuilder).Append(string(text)) //nolint:forcetypeassert // checked by text
}

func addBool(b array.Builder, m *maker, n, _ int64) {
	b.(*array.BooleanBuilder).Append(m.random(n, saltValue)>>11 < m.lateShare) //nolint:forcetypeassert // checked by newMaker
}

func addUUID(b array.Builder, m *maker, n, _ int64) {
	hi, lo := m.random(n, saltValue), m.random(n, saltMore)
	hi = hi&^0xF000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	s := fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xFFFF, hi&0xFFFF, lo>>48, lo&(1<<48-1))
	b.(*array.StringBuilder).Append(s) //nolint:forcetypeassert // checked by newMaker
}

func addTime(b array.Builder, m *maker, n, base int64) {
	if m.fixedStart {
		base = m.start
	}
	t := base + n*m.step
	if m.jitter > 0 {
		t -= int64(below(m.random(n, saltJitter), uint64(m.jitter)+1))
	}
	if m.lateShare > 0 && m.random(n, saltLate)>>11 < m.lateShare {
		t -= m.late
	}
	switch b := b.(type) {
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(t))
	case *array.Date32Builder:
		b.Append(arrow.Date32FromTime(time.UnixMicro(t).UTC()))
	}
}

// addMetadata gives the row's number for the column sequence, NULL for any other.
func addMetadata(b array.Builder, _ *maker, n, _ int64) {
	switch b.(type) {
	case *array.Int64Builder, *array.Uint64Builder:
		appendInt(b, n+1)
	default:
		b.AppendNull()
	}
}
