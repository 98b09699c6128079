package rowenc

import (
	"math"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

const secondsPerDay = 24 * 60 * 60

// timeCell returns how dates, times, timestamps and intervals are written.
func timeCell(a arrow.Array) (cell, bool) {
	switch a := a.(type) {
	case *array.Date32:
		return quoted(func(dst []byte, i int) []byte {
			if day := a.Value(i); day == math.MaxInt32 || day == -math.MaxInt32 {
				return appendInfinity(dst, day < 0)
			}
			return appendDate(dst, int64(a.Value(i)))
		}), true
	case *array.Date64:
		return quoted(func(dst []byte, i int) []byte {
			return appendDate(dst, floorDiv(int64(a.Value(i)), 1000*secondsPerDay))
		}), true
	case *array.Time32:
		per := perSecond(a.DataType().(*arrow.Time32Type).Unit) //nolint:forcetypeassert // its only type
		return quoted(func(dst []byte, i int) []byte { return appendTime(dst, int64(a.Value(i)), per) }), true
	case *array.Time64:
		per := perSecond(a.DataType().(*arrow.Time64Type).Unit) //nolint:forcetypeassert // its only type
		return quoted(func(dst []byte, i int) []byte { return appendTime(dst, int64(a.Value(i)), per) }), true
	case *array.Timestamp:
		kind := a.DataType().(*arrow.TimestampType) //nolint:forcetypeassert // its only type
		per, zone := perSecond(kind.Unit), kind.TimeZone != ""
		return quoted(func(dst []byte, i int) []byte {
			return appendTimestamp(dst, int64(a.Value(i)), per, zone)
		}), true
	case *array.Duration:
		per := perSecond(a.DataType().(*arrow.DurationType).Unit) //nolint:forcetypeassert // its only type
		return quoted(func(dst []byte, i int) []byte {
			return appendSeconds(append(dst, "PT"...), int64(a.Value(i)), per)
		}), true
	case *array.MonthInterval:
		return quoted(func(dst []byte, i int) []byte { return appendInterval(dst, int64(a.Value(i)), 0, 0) }), true
	case *array.MonthDayNanoInterval:
		return quoted(func(dst []byte, i int) []byte {
			v := a.Value(i)
			return appendInterval(dst, int64(v.Months), int64(v.Days), v.Nanoseconds)
		}), true
	}
	return cell{}, false
}

func perSecond(unit arrow.TimeUnit) int64 {
	switch unit {
	case arrow.Second:
		return 1
	case arrow.Millisecond:
		return 1e3
	case arrow.Microsecond:
		return 1e6
	case arrow.Nanosecond:
		return 1e9
	}
	return 1e6
}

// appendTimestamp writes v, which counts 1/per seconds since 1970.
func appendTimestamp(dst []byte, v, per int64, zone bool) []byte {
	if v == math.MaxInt64 || v == -math.MaxInt64 {
		return appendInfinity(dst, v < 0)
	}
	perDay := per * secondsPerDay
	day := floorDiv(v, perDay)
	v -= day * perDay
	if year, month, d := civil(day); per == 1e6 && year >= 0 && year <= 9999 {
		dst = appendMicros(dst, int(year), int(month), int(d), v)
	} else {
		dst = appendTime(append(appendDate(dst, day), 'T'), v, per)
	}
	if zone {
		dst = append(dst, 'Z')
	}
	return dst
}

// appendMicros writes the timestamp of DuckDB's most common type, all at once. micros count from midnight.
func appendMicros(dst []byte, year, month, day int, micros int64) []byte {
	const form = "0000-00-00T00:00:00.000000"
	start := len(dst)
	dst = append(dst, form...)
	at := dst[start:]
	_ = at[len(form)-1]
	seconds, fraction := int(micros/1e6), int(micros%1e6)
	putPair(at[0:], year/100)
	putPair(at[2:], year%100)
	putPair(at[5:], month)
	putPair(at[8:], day)
	putPair(at[11:], seconds/3600)
	putPair(at[14:], seconds/60%60)
	putPair(at[17:], seconds%60)
	putPair(at[20:], fraction/10_000)
	putPair(at[22:], fraction/100%100)
	putPair(at[24:], fraction%100)
	return dst
}

func putPair(at []byte, v int) {
	at[0], at[1] = pairs[2*v], pairs[2*v+1]
}

// appendInfinity writes what DuckDB keeps at the two ends of the range of dates and timestamps.
func appendInfinity(dst []byte, negative bool) []byte {
	if negative {
		dst = append(dst, '-')
	}
	return append(dst, "infinity"...)
}

// appendDate writes the day that lies day days after 1970-01-01, in the proleptic Gregorian calendar. Years
// beyond four digits have no plus sign, which DuckDB does not read.
func appendDate(dst []byte, day int64) []byte {
	year, m, d := civil(day)
	if year < 0 {
		dst = append(dst, '-')
		year = -year
	}
	dst = appendPadded(dst, year, 4)
	dst = appendPadded(append(dst, '-'), m, 2)
	return appendPadded(append(dst, '-'), d, 2)
}

// civil returns the date of the day that lies day days after 1970-01-01.
func civil(day int64) (year, month, d int64) {
	// Howard Hinnant's civil_from_days: eras of 400 years that begin on 1 March.
	z := day + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	month = mp + 3
	year = yoe + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, d
}

// appendTime writes a time of day in 1/per seconds, with six digits of a fraction, or nine for nanoseconds.
func appendTime(dst []byte, v, per int64) []byte {
	seconds, fraction := v/per, v%per
	dst = appendPadded(dst, seconds/3600, 2)
	dst = appendPadded(append(dst, ':'), seconds/60%60, 2)
	dst = appendPadded(append(dst, ':'), seconds%60, 2)
	if per == 1e9 {
		return appendPadded(append(dst, '.'), fraction, 9)
	}
	return appendPadded(append(dst, '.'), fraction*(1e6/per), 6)
}

// appendInterval writes an ISO 8601 duration; each part keeps its own sign.
func appendInterval(dst []byte, months, days, nanos int64) []byte {
	dst = append(dst, 'P')
	if months != 0 {
		dst = append(strconv.AppendInt(dst, months, 10), 'M')
	}
	if days != 0 {
		dst = append(strconv.AppendInt(dst, days, 10), 'D')
	}
	if nanos != 0 || months == 0 && days == 0 {
		dst = appendSeconds(append(dst, 'T'), nanos, 1e9)
	}
	return dst
}

// appendSeconds writes v, which counts 1/per seconds, as seconds with the digits they need, and an S.
func appendSeconds(dst []byte, v, per int64) []byte {
	if v < 0 {
		dst = append(dst, '-')
	}
	whole, fraction := v/per, v%per
	dst = strconv.AppendUint(dst, magnitude(whole), 10)
	if fraction != 0 {
		width := len(strconv.FormatInt(per, 10)) - 1
		dst = appendPadded(append(dst, '.'), int64(magnitude(fraction)), width) //nolint:gosec // below 1e9
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, 'S')
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v) //nolint:gosec // two's complement on purpose
	}
	return uint64(v)
}

// appendPadded writes v, which is not negative, with zeros in front up to width digits, 9 at most.
func appendPadded(dst []byte, v int64, width int) []byte {
	const zeros = "000000000"
	start := len(dst)
	dst = append(dst, zeros[:width]...)
	rest := uint32(v) //nolint:gosec // what does not fit is seen to first
	if v > math.MaxUint32 {
		return strconv.AppendInt(dst[:start], v, 10)
	}
	at := len(dst)
	for at -= 2; at >= start; at -= 2 {
		pair := rest % 100 * 2
		rest /= 100
		dst[at], dst[at+1] = pairs[pair], pairs[pair+1]
	}
	if at++; at == start {
		dst[at] = byte('0' + rest%10)
		rest /= 10
	}
	if rest > 0 { // wider than width
		return strconv.AppendInt(dst[:start], v, 10)
	}
	return dst
}

// pairs are the numbers of two digits one behind the other.
const pairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
