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
	dst = appendDate(dst, day)
	dst = appendTime(append(dst, 'T'), v-day*perDay, per)
	if zone {
		dst = append(dst, 'Z')
	}
	return dst
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
	// Howard Hinnant's civil_from_days: eras of 400 years that begin on 1 March.
	z := day + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d := doy - (153*mp+2)/5 + 1
	m := mp + 3
	year := yoe + era*400
	if m > 12 {
		m -= 12
		year++
	}
	if year < 0 {
		dst = append(dst, '-')
		year = -year
	}
	dst = appendPadded(dst, year, 4)
	dst = appendPadded(append(dst, '-'), m, 2)
	return appendPadded(append(dst, '-'), d, 2)
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

// appendPadded writes v, which is not negative, with zeros in front up to width digits.
func appendPadded(dst []byte, v int64, width int) []byte {
	limit := int64(10)
	for n := 1; n < width; n++ {
		if v < limit {
			dst = append(dst, '0')
		}
		limit *= 10
	}
	if width == 2 && v < 100 {
		if v >= 10 {
			dst = append(dst, byte('0'+v/10))
		}
		return append(dst, byte('0'+v%10))
	}
	return strconv.AppendInt(dst, v, 10)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
