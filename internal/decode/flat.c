#include "flat.h"

int flat_width(void) {
#ifdef FLAT_WIDE
	if (!__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2")) return 16;
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) return 64;
	if (__builtin_cpu_supports("avx2")) return 32;
#endif
	return 16;
}

int64_t flat_scan(int width, const uint8_t *b, int64_t size, int64_t p, const int64_t *ends, const uint8_t *names,
	flat_key *keys, int64_t count, flat_runs *runs, flat_span *spans, uint8_t *odd, int64_t most) {
#ifdef FLAT_WIDE
	if (width == 64) return flat_scan64(b, size, p, ends, names, keys, count, runs, spans, odd, most);
	if (width == 32) return flat_scan32(b, size, p, ends, names, keys, count, runs, spans, odd, most);
#endif
	return flat_scan16(b, size, p, ends, names, keys, count, runs, spans, odd, most);
}

int64_t flat_texts(const uint8_t *b, int64_t size, const flat_span *spans, int64_t count, uint8_t *data, int64_t room,
	uint32_t *ends) {
	int64_t at = ends[0];
	for (int64_t i = 0; i < count; i++) {
		int64_t start = (int64_t)spans[i].start + 1, n = (int64_t)(spans[i].end & ~FLAT_PLAIN) - 1 - start;
		if (n > room - at) return i;
		if (__builtin_expect(at + n + 16 <= room && start + n + 16 <= size, 1)) {
			for (int64_t j = 0; j < n; j += 16) memcpy(data + at + j, b + start + j, 16); // more than the text, within bounds
		} else {
			memcpy(data + at, b + start, (size_t)n);
		}
		ends[i + 1] = (uint32_t)(at += n);
	}
	return count;
}
