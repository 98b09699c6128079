// The scan of flat.go: it finds where the values of many rows are, and looks at nothing that depends on a column's type.

#ifndef TIDEMILL_DECODE_FLAT_H
#define TIDEMILL_DECODE_FLAT_H

#include <stdint.h>
#include <string.h>

// A value, from its first byte to behind its last. The highest bit of end says that it is a plain string: between its
// quotes is neither an escape nor a control character nor anything above ASCII.
typedef struct {
	uint32_t start, end;
} flat_span;

#define FLAT_PLAIN 0x80000000u

// A key with what stands before it, a brace or a comma, and with its quotes and its colon: size bytes at a place of an array
// that holds all keys. The rest is what flat_scan has learned of the rows that it saw last. usual is the size of the values
// if they had the same, else 0; plain says that they were plain strings as well. Keys whose values are so, one behind the
// other, are a run: the first of it has their number in run, else it is 0, and the blocks of flat_runs that are its own.
// value is where a value begins, from the first byte of its run on.
typedef struct {
	uint32_t at, size, usual, plain, run, block, blocks, bytes, value;
} flat_key;

// What runs of keys and values looked like in a row: their bytes in blocks of as many as are looked at together, and for each
// block which bytes must be the same in every row, and which need only be plain: the lowest of each byte's bits in flat_stops.h.
#define FLAT_RUNS 1024
typedef struct {
	uint8_t text[FLAT_RUNS];
	uint64_t same[FLAT_RUNS / 16], plain[FLAT_RUNS / 16];
} flat_runs;

// How many rows are read at once, at most.
#define FLAT_ROWS 256

// How many bytes behind the last key may be read.
#define FLAT_SLACK 64

// Whether there is a scan for processors that look at more than 16 bytes at a time. Clang has no pragma for it.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FLAT_WIDE
#endif

// flat_width returns how many bytes this processor looks at together at best: 16, 32 or 64.
int flat_width(void);

// flat_scan reads objects that have exactly these keys in this order, from b[p] on, at most most of them. Each ends with
// its line, or, if ends is given, object i ends at ends[i]; nothing past b[size] is touched. It stops at the first object
// that is otherwise and returns how many came before it.
//
// Value k of row i is spans[k * FLAT_ROWS + i], and the row itself, with its line break, comes behind those of the last
// key; odd[k] becomes 1 if a value is not a plain string. Strings are known to have no control characters, and values no
// line break, but what is not plain must still be checked to be JSON, and to be one value. The width is flat_width's or
// less, and the same as long as the keys are.
int64_t flat_scan(int width, const uint8_t *b, int64_t size, int64_t p, const int64_t *ends, const uint8_t *names,
	flat_key *keys, int64_t count, flat_runs *runs, flat_span *spans, uint8_t *odd, int64_t most);

// flat_scan for one width each.
typedef int64_t flat_scan_of(const uint8_t *b, int64_t size, int64_t p, const int64_t *ends, const uint8_t *names,
	flat_key *keys, int64_t count, flat_runs *runs, flat_span *spans, uint8_t *odd, int64_t most);
flat_scan_of flat_scan16, flat_scan32, flat_scan64;

// flat_texts copies what stands between the quotes of plain strings, one behind the other, to data behind ends[0], and puts
// the end of text i in ends[i + 1]. It stops at a text that does not fit in so much room, and returns how many did.
int64_t flat_texts(const uint8_t *b, int64_t size, const flat_span *spans, int64_t count, uint8_t *data, int64_t room,
	uint32_t *ends);

// A date that was read, by its text: the first eight bytes and the last two, as little endian numbers.
typedef struct {
	uint64_t head;
	int64_t days; // since 1970
	uint16_t tail;
	uint16_t known; // 0 if none was read
} flat_day;

// flat_times reads plain strings YYYY-MM-DD HH:MM:SS, with T for the space, a fraction of one to nine digits or a Z at will,
// into the microseconds since 1970. It stops at the first text that is otherwise, though it may be a time, or that ends the
// bytes of b, and returns how many came before it. The date of last is read by comparing; it becomes the one of the last text.
int64_t flat_times(const uint8_t *b, int64_t size, const flat_span *spans, int64_t count, flat_day *last, int64_t *micros);

static inline uint64_t flat_load8(const uint8_t *p) {
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}

#endif
