#include "flat.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// text is what is scanned: rows lie before end, and up to size may be read at all.
typedef struct {
	const uint8_t *b;
	int64_t end, size;
} text;

static inline int plain(uint8_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

// stops16 returns a number whose lowest bit that is set tells which of 16 bytes is the first that is not plain, in units
// of stop_bits; 0 if all are.
#if defined(__SSE2__)
enum { stop_bits = 1 };
static inline uint64_t stops16(const uint8_t *p) {
	__m128i v = _mm_loadu_si128((const __m128i *)p);
	__m128i stop = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)), // signed, so above ASCII as well
		_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
	return (uint64_t)_mm_movemask_epi8(stop);
}
#elif defined(__aarch64__)
enum { stop_bits = 4 };
static inline uint64_t stops16(const uint8_t *p) {
	int8x16_t v = vld1q_s8((const int8_t *)p);
	uint8x16_t stop = vorrq_u8(vcltq_s8(v, vdupq_n_s8(0x20)), // signed, so above ASCII as well
		vorrq_u8(vceqq_s8(v, vdupq_n_s8('"')), vceqq_s8(v, vdupq_n_s8('\\'))));
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
	for (; p + 16 <= t->size && p < t->end; p += 16) {
		uint64_t stops = stops16(t->b + p);
		if (stops) return p + __builtin_ctzll(stops) / stop_bits;
	}
	while (p < t->end && plain(t->b[p])) p++;
	return p;
}

// string_end returns what is behind the string whose first character is at p, or 0, and says whether it is plain.
static inline int64_t string_end(const text *t, int64_t p, int *is_plain) {
	for (;;) {
		p = plain_end(t, p);
		if (p >= t->end) return 0;
		uint8_t c = t->b[p++];
		if (c == '"') return p;
		if (c < 0x20) return 0;
		*is_plain = 0;
		if (c == '\\' && (p >= t->end || t->b[p++] < 0x20)) return 0;
		while (p < t->end && t->b[p] >= 0x80) p++;
	}
}

// nested_end returns what is behind the array or object that begins at p, by its brackets, or 0.
static int64_t nested_end(const text *t, int64_t p) {
	int64_t depth = 0;
	while (p < t->end) {
		uint8_t c = t->b[p++];
		int any;
		if (c < 0x20) return 0;
		if (c == '"' && !(p = string_end(t, p, &any))) return 0;
		if (c == '{' || c == '[') depth++;
		if ((c == '}' || c == ']') && --depth == 0) return p;
	}
	return 0;
}

// value_end returns what is behind the value at p, or 0.
static inline int64_t value_end(const text *t, int64_t p, int *is_plain) {
	if (p >= t->end) return 0;
	uint8_t c = t->b[p];
	if (c == '"') {
		*is_plain = 1;
		return string_end(t, p + 1, is_plain);
	}
	*is_plain = 0;
	if (c == '{' || c == '[') return nested_end(t, p);
	int64_t start = p;
	while (p < t->end && t->b[p] > ' ' && t->b[p] != ',' && t->b[p] != '}') p++;
	return p > start ? p : 0;
}

static inline uint64_t load8(const uint8_t *p) {
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}

static inline int same(const uint8_t *a, const uint8_t *b, int64_t n) {
	if (n < 8) return memcmp(a, b, (size_t)n) == 0;
	for (int64_t i = 0; i + 8 < n; i += 8)
		if (load8(a + i) != load8(b + i)) return 0;
	return load8(a + n - 8) == load8(b + n - 8);
}

static inline int64_t space(const text *t, int64_t p) { return p < t->end && t->b[p] == ' ' ? p + 1 : p; }

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
	if (p >= t->end || t->b[p++] != '{') return 0;
	for (int64_t k = 0; k < count; k++, spans += FLAT_ROWS) {
		if (k > 0) {
			if (p >= t->end || t->b[p] != ',') return 0;
			p = space(t, p + 1);
		}
		int64_t n = keys[k].size;
		if (t->end - p < n || !same(t->b + p, names + keys[k].at, n)) return 0;
		int64_t start = space(t, p + n);
		int is_plain;
		p = value_end(t, start, &is_plain);
		if (p == 0) return 0;
		odd[k] |= !is_plain;
		*spans = (flat_span){(uint32_t)start, (uint32_t)p | (is_plain ? FLAT_PLAIN : 0)};
	}
	return row_end(t, p);
}

int64_t flat_scan(const uint8_t *b, int64_t size, int64_t p, const int64_t *ends, const uint8_t *names,
	const flat_key *keys, int64_t count, flat_span *spans, uint8_t *odd, int64_t most) {
	text t = {b, size, size};
	int64_t row = 0;
	memset(odd, 0, (size_t)count);
	for (; row < most; row++) {
		if (ends) t.end = ends[row];
		int64_t next = row_scan(&t, p, names, keys, count, spans + row, odd);
		if (next == 0 || (ends && next != t.end)) break;
		spans[count * FLAT_ROWS + row] = (flat_span){(uint32_t)p, (uint32_t)next};
		p = next;
	}
	return row;
}
