#include <string.h>

#include "resample.h"

// The result is that of Pillow's src/libImaging/Resample.c: sums in 32 bits, 22 of them behind the point, rounded by adding
// a half. Weights are not negative and their sum is one to within some units of the last place, so nothing needs clipping.
enum { point = 22, half = 1 << (point - 1) };

#if defined(__x86_64__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx2", "sse4.1", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

// FOR_TAPS(F, …) is F(…, taps), where the few taps of usual sizes are constants: so loops over them are unrolled.
#define FOR_TAPS(f, taps, ...)                           \
	switch (taps) {                                  \
	case 1: f(__VA_ARGS__, 1); break;                \
	case 2: f(__VA_ARGS__, 2); break;                \
	case 3: f(__VA_ARGS__, 3); break;                \
	case 4: f(__VA_ARGS__, 4); break;                \
	case 5: f(__VA_ARGS__, 5); break;                \
	default: f(__VA_ARGS__, taps);                   \
	}

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int32_t ints4 __attribute__((vector_size(16)));

// load returns three bytes, and the one behind, as numbers; store is the other way round, without that one. (A shuffle is one
// instruction; of __builtin_convertvector GCC 12 makes many.)
INLINE ints4 load(const uint8_t *p) {
	int32_t pixel;
	memcpy(&pixel, p, 4);
	const bytes16 zero = {0}, order = {0, 16, 16, 16, 1, 16, 16, 16, 2, 16, 16, 16, 3, 16, 16, 16};
	return (ints4)__builtin_shuffle((bytes16)(ints4){pixel}, zero, order);
}

INLINE void store(uint8_t *p, ints4 v) {
	const bytes16 order = {0, 4, 8, 12};
	int32_t pixel = ((ints4)__builtin_shuffle((bytes16)v, order))[0];
	memcpy(p, &pixel, 3);
}

INLINE void row_of_colour(uint8_t *dst, const uint8_t *src, resample_axis a, int taps) {
	const int32_t *w = a.weights;
	for (int x = 0; x < a.n; x++, dst += 3, w += taps) {
		ints4 sum = {half, half, half, half};
		const uint8_t *p = src + 3 * (size_t)a.first[x];
		for (int k = 0; k < taps; k++)
			sum += load(p + 3 * k) * w[k];
		store(dst, sum >> point);
	}
}

FOR_EVERY_PROCESSOR static void rows_of_colour(uint8_t *dst, const uint8_t *src, int rows, size_t stride, resample_axis a) {
	for (int y = 0; y < rows; y++, src += stride, dst += 3 * (size_t)a.n)
		FOR_TAPS(row_of_colour, a.taps, dst, src, a);
}

static void rows_of_grey(uint8_t *dst, const uint8_t *src, int rows, size_t stride, resample_axis a) {
	for (int y = 0; y < rows; y++, src += stride)
		for (int x = 0; x < a.n; x++) {
			int32_t sum = half;
			for (int k = 0; k < a.taps; k++)
				sum += a.weights[(size_t)x * a.taps + k] * src[a.first[x] + k];
			*dst++ = sum >> point;
		}
}

void resample_rows(uint8_t *dst, const uint8_t *src, int rows, size_t stride, int channels, resample_axis axis) {
	if (channels == 3)
		rows_of_colour(dst, src, rows, stride, axis);
	else
		rows_of_grey(dst, src, rows, stride, axis);
}

// A row is made in blocks, whose sums stay in registers or the first cache.
enum { block = 64 };

INLINE void part_of_row(uint8_t *restrict dst, const uint8_t *restrict src, size_t stride, const int32_t *restrict w, int n, int taps) {
	int32_t sum[block];
	for (int x = 0; x < n; x++)
		sum[x] = half;
	for (int k = 0; k < taps; k++)
		for (int x = 0; x < n; x++)
			sum[x] += src[k * stride + x] * w[k];
	for (int x = 0; x < n; x++)
		dst[x] = sum[x] >> point;
}

FOR_EVERY_PROCESSOR void resample_columns(uint8_t *dst, const uint8_t *src, size_t width, size_t stride, resample_axis a) {
	for (int y = 0; y < a.n; y++, dst += width) {
		const uint8_t *from = src + stride * a.first[y];
		const int32_t *w = a.weights + (size_t)y * a.taps;
		size_t x = 0;
		for (; x + block <= width; x += block)
			part_of_row(dst + x, from + x, stride, w, block, a.taps);
		part_of_row(dst + x, from + x, stride, w, width - x, a.taps);
	}
}
