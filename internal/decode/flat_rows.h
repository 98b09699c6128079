// The scan of flat.h, for FLAT_WIDTH bytes at a time: each file that includes this makes one function of it, FLAT_SCAN.

#include "flat.h"
#include "flat_stops.h"

#define likely(x) __builtin_expect(!!(x), 1)

// text is what is scanned: rows lie before end.
typedef struct {
	const uint8_t *b;
	int64_t end;
	int64_t vector; // the last place of which FLAT_WIDTH bytes are looked at together
} text;

// plain_end returns where plain bytes from p on end, at t->end or behind it if that is where.
static inline int64_t plain_end(const text *t, int64_t p) {
	for (; likely(p <= t->vector); p += FLAT_WIDTH) {
		uint64_t stops = plain_stops(t->b + p);
		if (stops) return p + __builtin_ctzll(stops) / stop_bits;
	}
	while (p < t->end && plain(t->b[p])) p++;
	return p;
}

// bare_end is the same for bytes that are neither space, comma nor brace: numbers, true, false and null.
static inline int64_t bare_end(const text *t, int64_t p) {
	for (; likely(p <= t->vector); p += FLAT_WIDTH) {
		uint64_t stops = bare_stops(t->b + p);
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
	const uint8_t *name = names + k->at;
	if (likely(p <= t->vector && k->size <= FLAT_WIDTH)) {
		uint64_t own = ~0ull >> (64 - k->size * stop_bits);
		if (likely((differences(t->b + p, name) & own) == 0)) return p + k->size;
	}
	return spaced_key_end(t, p, k, name);
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

// value_scan reads the key and the value at p, and returns what is behind them, or 0.
static inline int64_t value_scan(const text *t, int64_t p, const flat_key *k, const uint8_t *names, flat_span *span, uint8_t *odd) {
	p = key_end(t, p, k, names);
	if (p == 0) return 0;
	if (p < t->end && t->b[p] == ' ') p++;
	if (p >= t->end) return 0;
	int64_t guess = p + k->usual;
	span->start = (uint32_t)p;
	if (likely(t->b[p] == '"')) {
		int64_t quote = plain_end(t, p + 1);
		if (likely(quote < t->end && t->b[quote] == '"')) {
			p = foretold(quote + 1, guess);
			span->end = (uint32_t)p | FLAT_PLAIN;
			return p;
		}
		p = odd_end(t, p, quote);
	} else {
		p = odd_end(t, p, p);
	}
	if (p == 0) return 0;
	p = foretold(p, guess);
	*odd = 1;
	span->end = (uint32_t)p;
	return p;
}

// run_scan reads the run that begins with k, if it stands at p, and returns what is behind it, which may be behind t->end, or 0.
static inline int64_t run_scan(const text *t, int64_t p, const flat_key *k, const flat_runs *runs, flat_span *spans) {
	if (p > t->vector - (int64_t)(k->blocks - 1) * FLAT_WIDTH) return 0;
	const uint8_t *at = t->b + p, *was = runs->text + k->block * FLAT_WIDTH;
	const uint64_t *same = runs->same + k->block, *inner = runs->plain + k->block;
	uint64_t wrong = 0;
	for (uint32_t i = 0; i < k->blocks; i++, at += FLAT_WIDTH, was += FLAT_WIDTH)
		wrong |= (differences(at, was) & same[i]) | (plain_stops(at) & inner[i]);
	if (wrong) return 0;
	for (const flat_key *of = k; of < k + k->run; of++, spans += FLAT_ROWS)
		*spans = (flat_span){(uint32_t)p + of->value, ((uint32_t)p + of->value + of->usual) | FLAT_PLAIN};
	return p + k->bytes;
}

// row_scan reads the object at p and returns what is behind it and its line, or 0. Its first span goes to spans. It counts
// runs that are not as they were.
static inline int64_t row_scan(const text *t, int64_t p, const uint8_t *names, const flat_key *keys, int64_t count,
	const flat_runs *runs, flat_span *spans, uint8_t *odd, int64_t *missed) {
	const flat_key *end = keys + count;
	for (const flat_key *k = keys; k < end; k++, spans += FLAT_ROWS, odd++) {
		if (k->run) {
			int64_t behind = run_scan(t, p, k, runs, spans);
			if (likely(behind)) {
				p = behind;
				uint32_t others = k->run - 1;
				k += others;
				spans += others * FLAT_ROWS;
				odd += others;
				continue;
			}
			++*missed;
		}
		p = value_scan(t, p, k, names, spans, odd);
		if (p == 0) return 0;
	}
	return row_end(t, p);
}

// usual_rows is how many values must be of the same length for one to be foretold.
enum { usual_rows = 16 };

// learn_usual sees which size the first values of a key have, and reports that it is not what was known.
static int learn_usual(flat_key *k, const flat_span *v) {
	uint32_t size = v[0].end - v[0].start; // with FLAT_PLAIN, so that all are plain or none
	for (int64_t i = 1; i < usual_rows; i++)
		if (v[i].end - v[i].start != size) size = 0;
	uint32_t usual = size & ~FLAT_PLAIN, plain = size >> 31;
	int changed = usual != k->usual || plain != k->plain;
	k->usual = usual;
	k->plain = plain;
	return changed;
}

static inline uint32_t value_end(const flat_span *v) { return v->end & ~FLAT_PLAIN; }

// learn_run makes the keys from k to behind a run, which in some row begins with the byte at p, and whose spans there begin
// with v. Its first block is block.
static void learn_run(const uint8_t *b, uint32_t p, flat_key *k, const flat_key *behind, flat_runs *runs, const flat_span *v,
	uint32_t block) {
	k->run = (uint32_t)(behind - k);
	k->bytes = value_end(v + (k->run - 1) * FLAT_ROWS) - p;
	k->block = block;
	k->blocks = (k->bytes + FLAT_WIDTH - 1) / FLAT_WIDTH;
	uint64_t *same = runs->same + block, *inner = runs->plain + block;
	memcpy(runs->text + block * FLAT_WIDTH, b + p, k->bytes);
	memset(inner, 0, k->blocks * sizeof *inner);
	memset(same, 0, k->blocks * sizeof *same);
	uint32_t i = 0;
	for (flat_key *of = k; of < behind; of++, v += FLAT_ROWS) {
		of->value = v->start - p;
		for (; i <= of->value; i++) same[i / FLAT_WIDTH] |= 1ull << i % FLAT_WIDTH * stop_bits;
		for (; i < of->value + of->usual - 1; i++) inner[i / FLAT_WIDTH] |= 1ull << i % FLAT_WIDTH * stop_bits;
	}
	same[i / FLAT_WIDTH] |= 1ull << i % FLAT_WIDTH * stop_bits; // the last quote
}

// learn_runs finds the runs of a row whose first span is spans, and whose values have their usual sizes. What there are not
// blocks for is in no run.
static void learn_runs(const uint8_t *b, flat_key *keys, int64_t count, flat_runs *runs, const flat_span *spans) {
	uint32_t p = spans[count * FLAT_ROWS].start, block = 0;
	for (int64_t k = 0; k < count; k++) keys[k].run = 0;
	for (int64_t k = 0, behind; k < count; k = behind) {
		uint32_t room = FLAT_RUNS - block * FLAT_WIDTH;
		for (behind = k; behind < count && keys[behind].plain; behind++)
			if (value_end(spans + behind * FLAT_ROWS) - p > room) break;
		if (behind > k) {
			learn_run(b, p, keys + k, keys + behind, runs, spans + k * FLAT_ROWS, block);
			block += keys[k].blocks;
		} else {
			behind++;
		}
		p = value_end(spans + (behind - 1) * FLAT_ROWS);
	}
}

// ahead_bytes is how far before the scan bytes are asked of memory, so that it seldom waits.
enum { ahead_bytes = 1024 };

int64_t FLAT_SCAN(const uint8_t *b, int64_t size, int64_t p, const int64_t *ends, const uint8_t *names,
	flat_key *keys, int64_t count, flat_runs *runs, flat_span *spans, uint8_t *odd, int64_t most) {
	text t = {b, size, size - FLAT_WIDTH};
	int64_t row = 0, missed = 0;
	memset(odd, 0, (size_t)count);
	for (; row < most; row++) {
		if (size - p > 2 * ahead_bytes)
			for (int64_t q = ahead_bytes; q < ahead_bytes + 256; q += 64) __builtin_prefetch(b + p + q);
		if (ends) {
			t.end = ends[row];
			t.vector = t.end < size - FLAT_WIDTH ? t.end : size - FLAT_WIDTH;
		}
		int64_t next = row_scan(&t, p, names, keys, count, runs, spans + row, odd, &missed);
		if (next == 0 || (ends && next != t.end)) break;
		spans[count * FLAT_ROWS + row] = (flat_span){(uint32_t)p, (uint32_t)next};
		p = next;
	}
	if (row >= usual_rows) {
		int changed = 2 * missed > row;
		for (int64_t k = 0; k < count; k++) changed |= learn_usual(keys + k, spans + k * FLAT_ROWS);
		if (changed) learn_runs(b, keys, count, runs, spans + usual_rows - 1);
	}
	return row;
}
