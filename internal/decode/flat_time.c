#include "flat.h"

static const int64_t micros_per_second = 1000000, seconds_per_day = 86400;

// two returns the number of two digits, or a negative one.
static inline int two(const uint8_t *s) {
	unsigned tens = s[0] - '0', ones = s[1] - '0';
	return tens <= 9 && ones <= 9 ? (int)(tens * 10 + ones) : -1;
}

static inline int month_days(int year, int month) {
	if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
	return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

// date_days reads YYYY-MM-DD into the days since 1970 and returns whether it is a date. The year is counted from March, so
// that the leap day is its last.
static int date_days(const uint8_t *s, int64_t *days) {
	int high = two(s), low = two(s + 2), month = two(s + 5), day = two(s + 8), year = high * 100 + low;
	if ((high | low | month | day) < 0 || s[4] != '-' || s[7] != '-') return 0;
	if (month < 1 || month > 12 || day < 1 || day > month_days(year, month)) return 0;
	int march = month > 2, from = year - !march, era = from < 0 ? -1 : from / 400, of_era = from - era * 400;
	int of_year = (153 * (month - 3 + 12 * !march) + 2) / 5 + day - 1;
	*days = era * 146097LL + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
	return 1;
}

// digits_only returns whether eight bytes, from which '0' has been taken by xor, are digits.
static inline int digits_only(uint64_t v) { return ((v | (v + 0x0606060606060606)) & 0xf0f0f0f0f0f0f0f0) == 0; }

// clock_seconds reads HH:MM:SS and returns the seconds since midnight, or a negative number.
static inline int64_t clock_seconds(const uint8_t *s) {
	uint64_t digits = flat_load8(s) ^ 0x30303a30303a3030; // the first lowest; zero for the colons
	if (!digits_only(digits) || (digits & 0x0000ff0000ff0000) != 0) return -1;
	uint64_t pairs = digits * 10 + (digits >> 8); // bytes 0, 3 and 6 are a pair of digits each
	int64_t hour = pairs & 0xff, minute = pairs >> 24 & 0xff, second = pairs >> 48 & 0xff;
	return hour > 23 || minute > 59 || second > 59 ? -1 : (hour * 60 + minute) * 60 + second;
}

// fraction_micros reads the count digits behind a point, of which there are one to nine, and cuts off what is below a
// microsecond; it returns a negative number if there is something else. Eight bytes can be read at s, nine if there are so
// many digits.
static inline int64_t fraction_micros(const uint8_t *s, int64_t count) {
	uint64_t own = count < 8 ? ((uint64_t)1 << 8 * count) - 1 : ~(uint64_t)0;
	uint64_t v = (flat_load8(s) ^ 0x3030303030303030) & own;
	if (!digits_only(v) || (count == 9 && (unsigned)(s[8] - '0') > 9)) return -1;
	v = v * 10 + (v >> 8); // bytes 0, 2, 4 and 6 are a pair each
	v = (v & 0xff) * 10000 + (v >> 16 & 0xff) * 100 + (v >> 32 & 0xff);
	return (int64_t)v;
}

// time_micros reads the text of n bytes at s, behind which eight more can be read.
static inline int time_micros(const uint8_t *s, int64_t n, flat_day *last, int64_t *out) {
	enum { seconds_end = 19 };
	n -= s[n - 1] == 'Z';
	if (n < seconds_end || (s[10] != 'T' && s[10] != ' ')) return 0;
	uint64_t head = flat_load8(s);
	uint16_t tail = (uint16_t)(s[8] | s[9] << 8);
	if (!last->known || head != last->head || tail != last->tail) {
		int64_t days;
		if (!date_days(s, &days)) return 0;
		*last = (flat_day){head, days, tail, 1};
	}
	int64_t seconds = clock_seconds(s + 11), fraction = 0;
	if (n > seconds_end) {
		if (s[seconds_end] != '.' || n == seconds_end + 1 || n > seconds_end + 10) return 0;
		fraction = fraction_micros(s + seconds_end + 1, n - seconds_end - 1);
	}
	if ((seconds | fraction) < 0) return 0;
	*out = (last->days * seconds_per_day + seconds) * micros_per_second + fraction;
	return 1;
}

int64_t flat_times(const uint8_t *b, int64_t size, const flat_span *spans, int64_t count, flat_day *last, int64_t *out) {
	for (int64_t i = 0; i < count; i++) {
		int64_t start = (int64_t)spans[i].start + 1, n = (int64_t)(spans[i].end & ~FLAT_PLAIN) - 1 - start;
		if (!(spans[i].end & FLAT_PLAIN) || n < 19 || start + n + 8 > size) return i;
		if (!time_micros(b + start, n, last, out + i)) return i;
	}
	return count;
}
