#include "flat.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define likely(x) __builtin_expect(!!(x), 1)

// text is what is scanned: rows lie before end, and up to size may be read at all.
typedef struct {
	const uint8_t *b;
	int64_t end, size;
	int64_t vector; // the last place of which 16 bytes are looked at together
} text;

static inline int plain(uint8_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

// stops16 returns a number whose lowest bit that is set tells which of 16 bytes is the first that is not plain, in units
// of stop_bits; 0 if all are. Flipping a bit puts the quote right above the control characters, and what is above ASCII is
// negative: one comparison finds all of these.
#if defined(__SSE2__)
enum { stop_bits = 1 };
static inline uint64_t stops16(const uint8_t *p) {
	__m128i v = _mm_loadu_si128((const __m128i *)p);
	__m128i low = _mm_cmpgt_epi8(_mm_set1_epi8(0x21), _mm_xor_si128(v, _mm_set1_epi8('"' ^ 0x20)));
	return (uint64_t)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
}
#elif defined(__aarch64__)
enum { stop_bits = 4 };
static inline uint64_t stops16(const uint8_t *p) {
	int8x16_t v = vld1q_s8((const int8_t *)p);
	uint8x16_t low = vcgtq_s8(vdupq_n_s8(0x21), veorq_s8(v, vdupq_n_s8('"' ^ 0x20)));
	uint8x16_t stop = vorrq_u8(low, vceqq_s8(v, vdupq_n_s8('\\')));
	return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(stop), 4)), 0);
}
#else
enum { stop_bits = 1 };
static inline uint64_t stops16(const uint8_t *p) {
	uint64_t stops = 0;
	for (int i = 0; i < 16; i++) stops |= (uint64_t)!plain(p[i]) << i;
	return stops;
}
#endif

// plain_end returns where plain bytes from p on end, at t->end or behind it if that is where.
static inline int64_t plain_end(const text *t, int64_t p) {
	for (; likely(p <= t->vector); p += 16) {
		uint64_t stops = stops16(t->b + p);
		if (stops) return p + __builtin_ctzll(stops) / stop_bits;
	}
	while (p < t->end && plain(t->b[p])) p++;
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
	for (p = start; p < t->end && t->b[p] > ' ' && t->b[p] != ',' && t->b[p] != '}';) p++;
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

// row_scan reads the object at p and returns what is behind it and its line, or 0. Its first span goes to spans.
static inline int64_t row_scan(const text *t, int64_t p, const uint8_t *names, const flat_key *keys, int64_t count,
	flat_span *spans, uint8_t *odd) {
	for (int64_t k = 0; k < count; k++, spans += FLAT_ROWS) {
		p = key_end(t, p, keys + k, names);
		if (p == 0) return 0;
		if (p < t->end && t->b[p] == ' ') p++;
		if (p >= t->end) return 0;
		spans->start = (uint32_t)p;
		if (likely(t->b[p] == '"')) {
			int64_t quote = plain_end(t, p + 1);
			if (likely(quote < t->end && t->b[quote] == '"')) {
				p = quote + 1;
				spans->end = (uint32_t)p | FLAT_PLAIN;
				continue;
			}
			p = odd_end(t, p, quote);
		} else {
			p = odd_end(t, p, p);
		}
		if (p == 0) return 0;
		odd[k] = 1;
		spans->end = (uint32_t)p;
	}
	return row_end(t, p);
}

// ahead_bytes is how far before the scan bytes are asked of memory, so that it seldom waits.
enum { ahead_bytes = 1024 };

int64_t flat_scan(const uint8_t *b, int64_t size, int64_t p, const int64_t *ends, const uint8_t *names,
	const flat_key *keys, int64_t count, flat_span *spans, uint8_t *odd, int64_t most) {
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
