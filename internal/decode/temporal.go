package decode

import (
	"encoding/binary"
	"math"
)

// tsUnit is how TIMESTAMP columns are written.
type tsUnit int

const (
	unitISO tsUnit = iota
	unitSeconds
	unitMillis
	unitMicros
	unitNanos
)

func parseTSUnit(s string) (tsUnit, bool) {
	switch s {
	case "", "iso":
		return unitISO, true
	case "s":
		return unitSeconds, true
	case "ms":
		return unitMillis, true
	case "us":
		return unitMicros, true
	case "ns":
		return unitNanos, true
	}
	return 0, false
}

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond

	// DuckDB keeps the largest int64 and its negative for the infinities, and the smallest for NULL; its
	// timestamps begin in the year 290309 before Christ.
	timestampMin = -9223372022400000000
	timestampMax = math.MaxInt64 - 1
	daysMin      = -106_751_991 // the first day whose microseconds fit a timestamp
	daysMax      = 106_751_991
)

func inRange(micros int64) bool { return micros >= timestampMin && micros <= timestampMax }

// isoDate reads YYYY-MM-DD (years of four to six digits) and returns the days since 1970 and what follows.
func isoDate(s []byte) (days int64, rest []byte, ok bool) {
	i := 0
	year := 0
	for i < len(s) && i < 7 && s[i]-'0' <= 9 {
		year = year*10 + int(s[i]-'0')
		i++
	}
	if i < 4 || i > 6 || len(s) < i+6 || s[i] != '-' || s[i+3] != '-' {
		return 0, s, false
	}
	month, ok1 := two(s[i+1:])
	day, ok2 := two(s[i+4:])
	if !ok1 || !ok2 || month < 1 || month > 12 || day < 1 || day > monthDays(year, month) {
		return 0, s, false
	}
	days = civil(year, month, day)
	return days, s[i+6:], days <= daysMax
}

// two reads two digits.
func two(s []byte) (int, bool) {
	if len(s) < 2 || s[0]-'0' > 9 || s[1]-'0' > 9 {
		return 0, false
	}
	return int(s[0]-'0')*10 + int(s[1]-'0'), true
}

func monthDays(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// civil returns the days from 1970-01-01 to a date of the proleptic Gregorian calendar. The year is counted
// from March, so that the leap day is its last.
func civil(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 {
		era = -1 // only the year before 0 can come here
	}
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return int64(era)*146_097 + int64(dayOfEra) - 719_468
}

// isoTime reads HH:MM[:SS[.fraction]] and returns the microseconds since midnight and what follows. A
// fraction may have nine digits; what is below a microsecond is cut off.
func isoTime(s []byte) (micros int64, rest []byte, ok bool) {
	if len(s) < 8 || s[5] != ':' {
		return isoMinute(s)
	}
	clock := binary.LittleEndian.Uint64(s)
	digits := clock ^ 0x30_30_3a_30_30_3a_30_30 // of HH:MM:SS, the first lowest; zero for the colons
	if (digits|(digits+0x06_06_00_06_06_00_06_06))&0xf0_f0_ff_f0_f0_ff_f0_f0 != 0 {
		return 0, s, false
	}
	pairs := digits*10 + digits>>8 // bytes 0, 3 and 6 are a pair of digits each
	hour, minute, second := int64(pairs&0xff), int64(pairs>>24&0xff), int64(pairs>>48&0xff)
	if hour > 23 || minute > 59 || second > 59 {
		return 0, s, false
	}
	micros = (hour*3600 + minute*60 + second) * microsPerSecond
	if s = s[8:]; len(s) == 0 || s[0] != '.' {
		return micros, s, true
	}
	digit, fraction := 1, int64(0)
	for digit < len(s) && s[digit]-'0' <= 9 {
		if digit <= 6 {
			fraction = fraction*10 + int64(s[digit]-'0')
		}
		digit++
	}
	for i := digit; i <= 6; i++ {
		fraction *= 10
	}
	return micros + fraction, s[digit:], digit > 1 && digit <= 10
}

// isoMinute reads HH:MM.
func isoMinute(s []byte) (micros int64, rest []byte, ok bool) {
	hour, ok1 := two(s)
	if !ok1 || len(s) < 5 || s[2] != ':' || hour > 23 {
		return 0, s, false
	}
	minute, ok2 := two(s[3:])
	if !ok2 || minute > 59 || len(s) > 5 && s[5] == ':' {
		return 0, s, false
	}
	return int64(hour*3600+minute*60) * microsPerSecond, s[5:], true
}

// lastDay is the date of the timestamp that was read last: most rows of a stream have the date of the row before.
type lastDay struct {
	known bool
	head  uint64 // the first eight bytes of its text
	tail  uint16 // the last two
	days  int64
}

const dateBytes = len("2024-01-02")

// timestamp reads a date, optionally with a time behind T or a space and a zone of Z or ±hh[[:]mm].
func (l *lastDay) timestamp(s []byte) (micros int64, ok bool) {
	if len(s) <= dateBytes {
		days, rest, ok := isoDate(s)
		return dayTimestamp(days, rest, ok)
	}
	head, tail := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint16(s[8:])
	if l.known && head == l.head && tail == l.tail {
		return dayTimestamp(l.days, s[dateBytes:], true)
	}
	days, rest, ok := isoDate(s)
	if ok && len(s)-len(rest) == dateBytes {
		*l = lastDay{true, head, tail, days}
	}
	return dayTimestamp(days, rest, ok)
}

// dayTimestamp reads what follows a date.
func dayTimestamp(days int64, s []byte, ok bool) (micros int64, _ bool) {
	if !ok || days < daysMin {
		return 0, false
	}
	if len(s) == 0 {
		return days * microsPerDay, true
	}
	if s[0] != 'T' && s[0] != ' ' {
		return 0, false
	}
	clock, s, ok := isoTime(s[1:])
	if !ok {
		return 0, false
	}
	offset, ok := isoZone(s)
	if !ok {
		return 0, false
	}
	// The last day does not fit as a whole, so the sum is made in two steps that can be checked.
	rest := clock - offset
	if days == daysMax && rest > math.MaxInt64-daysMax*microsPerDay {
		return 0, false
	}
	micros = days*microsPerDay + rest
	return micros, inRange(micros)
}

// isoZone reads a whole zone and returns the microseconds east of UTC.
func isoZone(s []byte) (micros int64, ok bool) {
	if len(s) == 0 || len(s) == 1 && s[0] == 'Z' {
		return 0, true
	}
	if s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	sign := int64(1)
	if s[0] == '-' {
		sign = -1
	}
	hours, ok := two(s[1:])
	if !ok || hours > 18 {
		return 0, false
	}
	minutes := 0
	if s = s[3:]; len(s) > 0 {
		if s[0] == ':' {
			s = s[1:]
		}
		if minutes, ok = two(s); !ok || len(s) != 2 || minutes > 59 {
			return 0, false
		}
	}
	return sign * int64(hours*3600+minutes*60) * microsPerSecond, true
}
