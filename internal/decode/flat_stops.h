// What the scan looks for in FLAT_WIDTH bytes at a time: where values of JSON end, and whether a key is the expected one.

#ifndef TIDEMILL_DECODE_FLAT_STOPS_H
#define TIDEMILL_DECODE_FLAT_STOPS_H

#include <stdint.h>
#include <string.h>

static inline int plain(uint8_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }
static inline int bare(uint8_t c) { return c > ' ' && c != ',' && c != '}'; }

// plain_stops returns stop_bits for each byte from p on, the first byte's lowest: all set where it is not plain, else none.
// Flipping a bit puts the quote right above the control characters, and what is above ASCII is negative: one comparison
// finds all of these. bare_stops is the same for bytes that are not bare, differences for bytes that are not those of q.
#if FLAT_WIDTH == 64
#include <immintrin.h>
enum { stop_bits = 1 };
static inline __m512i wide_load(const uint8_t *p) { return _mm512_loadu_si512((const void *)p); }
static inline uint64_t plain_stops(const uint8_t *p) {
	__m512i v = wide_load(p);
	return _mm512_cmplt_epi8_mask(_mm512_xor_si512(v, _mm512_set1_epi8('"' ^ 0x20)), _mm512_set1_epi8(0x21)) |
		_mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('\\'));
}
static inline uint64_t bare_stops(const uint8_t *p) {
	__m512i v = wide_load(p);
	return _mm512_cmple_epu8_mask(v, _mm512_set1_epi8(' ')) | _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(',')) |
		_mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('}'));
}
static inline uint64_t differences(const uint8_t *p, const uint8_t *q) { return _mm512_cmpneq_epi8_mask(wide_load(p), wide_load(q)); }
#elif defined(__SSE2__)
#include <immintrin.h>
#if FLAT_WIDTH == 32
typedef __m256i wide;
#define WIDE(name) _mm256_##name
#else
typedef __m128i wide;
#define WIDE(name) _mm_##name
#endif
enum { stop_bits = 1 };
static inline wide wide_load(const uint8_t *p) {
	wide v;
	memcpy(&v, p, sizeof v);
	return v;
}
static inline uint64_t wide_bits(wide v) { return (uint32_t)WIDE(movemask_epi8)(v); }
static inline wide wide_equal(wide v, char c) { return WIDE(cmpeq_epi8)(v, WIDE(set1_epi8)(c)); }
static inline uint64_t plain_stops(const uint8_t *p) {
	wide v = wide_load(p);
	return wide_bits(WIDE(cmpgt_epi8)(WIDE(set1_epi8)(0x21), v ^ WIDE(set1_epi8)('"' ^ 0x20)) | wide_equal(v, '\\'));
}
static inline uint64_t bare_stops(const uint8_t *p) {
	wide v = wide_load(p);
	wide low = WIDE(cmpeq_epi8)(WIDE(min_epu8)(v, WIDE(set1_epi8)(' ')), v);
	return wide_bits(low | wide_equal(v, ',') | wide_equal(v, '}'));
}
static inline uint64_t differences(const uint8_t *p, const uint8_t *q) {
	return wide_bits(WIDE(cmpeq_epi8)(wide_load(p), wide_load(q))) ^ ~0u >> (32 - FLAT_WIDTH);
}
#elif defined(__aarch64__)
#include <arm_neon.h>
enum { stop_bits = 4 };
static inline uint64_t wide_bits(uint8x16_t stop) {
	return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(stop), 4)), 0);
}
static inline uint64_t plain_stops(const uint8_t *p) {
	int8x16_t v = vld1q_s8((const int8_t *)p);
	uint8x16_t low = vcgtq_s8(vdupq_n_s8(0x21), veorq_s8(v, vdupq_n_s8('"' ^ 0x20)));
	return wide_bits(vorrq_u8(low, vceqq_s8(v, vdupq_n_s8('\\'))));
}
static inline uint64_t bare_stops(const uint8_t *p) {
	uint8x16_t v = vld1q_u8(p), mark = vorrq_u8(vceqq_u8(v, vdupq_n_u8(',')), vceqq_u8(v, vdupq_n_u8('}')));
	return wide_bits(vorrq_u8(vcleq_u8(v, vdupq_n_u8(' ')), mark));
}
static inline uint64_t differences(const uint8_t *p, const uint8_t *q) { return ~wide_bits(vceqq_u8(vld1q_u8(p), vld1q_u8(q))); }
#else
enum { stop_bits = 1 };
static inline uint64_t plain_stops(const uint8_t *p) {
	uint64_t stops = 0;
	for (int i = 0; i < 16; i++) stops |= (uint64_t)!plain(p[i]) << i;
	return stops;
}
static inline uint64_t bare_stops(const uint8_t *p) {
	uint64_t stops = 0;
	for (int i = 0; i < 16; i++) stops |= (uint64_t)!bare(p[i]) << i;
	return stops;
}
static inline uint64_t differences(const uint8_t *p, const uint8_t *q) {
	uint64_t stops = 0;
	for (int i = 0; i < 16; i++) stops |= (uint64_t)(p[i] != q[i]) << i;
	return stops;
}
#endif

#endif
