// Where values of JSON end, looked for in 16 bytes at a time.

#ifndef TIDEMILL_DECODE_FLAT_STOPS_H
#define TIDEMILL_DECODE_FLAT_STOPS_H

#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

static inline int plain(uint8_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }
static inline int bare(uint8_t c) { return c > ' ' && c != ',' && c != '}'; }

// plain_stops16 returns a number whose lowest bit that is set tells which of 16 bytes is the first that is not plain, in
// units of stop_bits; 0 if all are. Flipping a bit puts the quote right above the control characters, and what is above
// ASCII is negative: one comparison finds all of these. bare_stops16 is the same for bytes that are not bare.
#if defined(__SSE2__)
enum { stop_bits = 1 };
static inline uint64_t plain_stops16(const uint8_t *p) {
	__m128i v = _mm_loadu_si128((const __m128i *)p);
	__m128i low = _mm_cmpgt_epi8(_mm_set1_epi8(0x21), _mm_xor_si128(v, _mm_set1_epi8('"' ^ 0x20)));
	return (uint64_t)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
}
static inline uint64_t bare_stops16(const uint8_t *p) {
	__m128i v = _mm_loadu_si128((const __m128i *)p);
	__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(' ')), v);
	__m128i mark = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(',')), _mm_cmpeq_epi8(v, _mm_set1_epi8('}')));
	return (uint64_t)_mm_movemask_epi8(_mm_or_si128(low, mark));
}
#elif defined(__aarch64__)
enum { stop_bits = 4 };
static inline uint64_t stops_of(uint8x16_t stop) {
	return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(stop), 4)), 0);
}
static inline uint64_t plain_stops16(const uint8_t *p) {
	int8x16_t v = vld1q_s8((const int8_t *)p);
	uint8x16_t low = vcgtq_s8(vdupq_n_s8(0x21), veorq_s8(v, vdupq_n_s8('"' ^ 0x20)));
	return stops_of(vorrq_u8(low, vceqq_s8(v, vdupq_n_s8('\\'))));
}
static inline uint64_t bare_stops16(const uint8_t *p) {
	uint8x16_t v = vld1q_u8(p), mark = vorrq_u8(vceqq_u8(v, vdupq_n_u8(',')), vceqq_u8(v, vdupq_n_u8('}')));
	return stops_of(vorrq_u8(vcleq_u8(v, vdupq_n_u8(' ')), mark));
}
#else
enum { stop_bits = 1 };
static inline uint64_t plain_stops16(const uint8_t *p) {
	uint64_t stops = 0;
	for (int i = 0; i < 16; i++) stops |= (uint64_t)!plain(p[i]) << i;
	return stops;
}
static inline uint64_t bare_stops16(const uint8_t *p) {
	uint64_t stops = 0;
	for (int i = 0; i < 16; i++) stops |= (uint64_t)!bare(p[i]) << i;
	return stops;
}
#endif

#endif
