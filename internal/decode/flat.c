#include "flat.h"
#include "flat_stops.h"

#define likely(x) __builtin_expect(!!(x), 1)

// text is what is scanned: rows lie before end, and up to size may be read at all.
typedef struct {
	const uint8_t *b;
	int64_t end, size;
	int64_t vector; // the last place of which 16 bytes are looked at together
} text;

// plain_end returns where plain bytes from p on end, at t->end or behind it if that is where.
static inline int64_t plain_end(const text *t, int64_t p) {
	for (; likely(p <= t->vector); p += 16) {
		uint64_t stops = plain_stops16(t->b + p);
		if (stops) return p + __builtin_ctzll(stops) / stop_bits;
	}
	while (p < t->end && plain(t->b[p])) p++;
	return p;
}

// bare_end is the same for bytes that are neither space, comma nor brace: numbers, true, false and null.
static inline int64_t bare_end(const text *t, int64_t p) {
	for (; likely(p <= t->vector); p += 16) {
		uint64_t stops = bare_stops16(t->b + p);
		if (likely(stops)) return p + __builtin_ctzll(stops) / stop_bits;
	}
	while (p < t->end && bare(t->b[p])) p++;
	return p;
}

// string_end returns what is behind a string whose bytes before p are plain or checked, or 0.
static int64_t string_end(const text *t, int64_t p) {
	for (;;) {
		p = plain_end(t, p);
		if (p >= t->end) return 0;
		uint8_t c = t->b[p++];
		if (c == '"') return p;
		if (c < 0x20) return 0;
		if (c == '\\' && (p >= t->end || t->b[p++] < 0x20)) return 0;
		while (p < t->end && t->b[p] >= 0x80) p++;
	}
}

// nested_end returns what is behind the array or object that begins at p, by its brackets, or 0.
static int64_t nested_end(const text *t, int64_t p) {
	int64_t depth = 0;
	while (p < t->end) {
		uint8_t c = t->b[p++];
		if (c < 0x20) return 0;
		if (c == '"' && !(p = string_end(t, p))) return 0;
		if (c == '{' || c == '[') depth++;
		if ((c == '}' || c == ']') && --depth == 0) return p;
	}
	return 0;
}

// odd_end returns what is behind the value at start, which is plain from there to p, or 0.
static int64_t odd_end(const text *t, int64_t start, int64_t p) {
	switch (t->b[start]) {
	case '"':
		return string_end(t, p);
	case '{':
	case '[':
		return nested_end(t, start);
	}
	p = bare_end(t, start);
	return p > start ? p : 0;
}

// spaced_key_end is key_end for a key that has a space before its first quote, is long, or stands near the end.
static int64_t spaced_key_end(const text *t, int64_t p, const flat_key *k, const uint8_t *name) {
	if (p >= t->end || t->b[p++] != *name) return 0;
	if (p < t->end && t->b[p] == ' ') p++;
	int64_t size = k->size - 1;
	return t->end - p >= size && memcmp(t->b + p, name + 1, (size_t)size) == 0 ? p + size : 0;
}

// key_end returns what is behind the key at p, which may be behind t->end, or 0.
static inline int64_t key_end(const text *t, int64_t p, const flat_key *k, const uint8_t *names) {
	if (likely(p <= t->vector && k->size <= 16)) {
		uint64_t differ = ((flat_load8(t->b + p) ^ k->low) & k->low_mask) | ((flat_load8(t->b + p + 8) ^ k->high) & k->high_mask);
		if (likely(differ == 0)) return p + k->size;
	}
	return spaced_key_end(t, p, k, names + k->at);
}

// row_end returns what is behind the end of the object at p and of its line, or 0.
static inline int64_t row_end(const text *t, int64_t p) {
	if (p >= t->end || t->b[p] != '}') return 0;
	p++;
	if (p < t->end && t->b[p] == '\r') p++;
	if (p >= t->end) return p;
	return t->b[p] == '\n' ? p + 1 : 0;
}

// foretold returns end, which is guess more often than not: the processor then goes on with guess, whose bytes it need not
// have seen, and looks at several values at once. The compiler must not know that both are the same, nor that a conditional
// move would do, which has to wait.
static inline int64_t foretold(int64_t end, int64_t guess) {
	int64_t same = guess;
	__asm__("" : "+r"(same));
	if (end != guess) return end;
	__asm__ volatile("");
	return same;
}

// row_scan reads the object at p and returns what is behind it and its line, or 0. Its first span goes to spans.
static inline int64_t row_scan(const text *t, int64_t p, const uint8_t *names, const flat_key *keys, int64_t count,
	flat_span *spans, uint8_t *odd) {
	for (int64_t k = 0; k < count; k++, spans += FLAT_ROWS) {
		p = key_end(t, p, keys + k, names);
		if (p == 0) return 0;
		if (p < t->end && t->b[p] == ' ') p++;
		if (p >= t->end) return 0;
		int64_t guess = p + keys[k].usual;
		spans->start = (uint32_t)p;
		if (likely(t->b[p] == '"')) {
			int64_t quote = plain_end(t, p + 1);
			if (likely(quote < t->end && t->b[quote] == '"')) {
				p = foretold(quote + 1, guess);
				spans->end = (uint32_t)p | FLAT_PLAIN;
				continue;
			}
			p = odd_end(t, p, quote);
		} else {
			p = odd_end(t, p, p);
		}
		if (p == 0) return 0;
		p = foretold(p, guess);
		odd[k] = 1;
		spans->end = (uint32_t)p;
	}
	return row_end(t, p);
}

// usual_rows is how many values must be of the same length for one to be foretold.
enum { usual_rows = 16 };

// usual_size returns the size that the first values of a key have, or 0 if they have several.
static uint32_t usual_size(const flat_span *v) {
	uint32_t size = v[0].end - v[0].start;
	for (int64_t i = 1; i < usual_rows; i++)
		if (v[i].end - v[i].start != size) return 0;
	return size & ~FLAT_PLAIN;
}

// ahead_bytes is how far before the scan bytes are asked of memory, so that it seldom waits.
enum { ahead_bytes = 1024 };

int64_t flat_scan(const uint8_t *b, int64_t size, int64_t p, const int64_t *ends, const uint8_t *names,
	flat_key *keys, int64_t count, flat_span *spans, uint8_t *odd, int64_t most) {
	text t = {b, size, size, size - 16};
	int64_t row = 0;
	memset(odd, 0, (size_t)count);
	for (; row < most; row++) {
		if (size - p > 2 * ahead_bytes)
			for (int64_t q = ahead_bytes; q < ahead_bytes + 256; q += 64) __builtin_prefetch(b + p + q);
		if (ends) {
			t.end = ends[row];
			t.vector = t.end < size - 16 ? t.end : size - 16;
		}
		int64_t next = row_scan(&t, p, names, keys, count, spans + row, odd);
		if (next == 0 || (ends && next != t.end)) break;
		spans[count * FLAT_ROWS + row] = (flat_span){(uint32_t)p, (uint32_t)next};
		p = next;
	}
	for (int64_t k = 0; row >= usual_rows && k < count; k++) keys[k].usual = usual_size(spans + k * FLAT_ROWS);
	return row;
}

int64_t flat_texts(const uint8_t *b, int64_t size, const flat_span *spans, int64_t count, uint8_t *data, int64_t room,
	uint32_t *ends) {
	int64_t at = ends[0];
	for (int64_t i = 0; i < count; i++) {
		int64_t start = (int64_t)spans[i].start + 1, n = (int64_t)(spans[i].end & ~FLAT_PLAIN) - 1 - start;
		if (n > room - at) return i;
		if (likely(at + n + 16 <= room && start + n + 16 <= size)) {
			for (int64_t j = 0; j < n; j += 16) memcpy(data + at + j, b + start + j, 16); // more than the text, within bounds
		} else {
			memcpy(data + at, b + start, (size_t)n);
		}
		ends[i + 1] = (uint32_t)(at += n);
	}
	return count;
}
