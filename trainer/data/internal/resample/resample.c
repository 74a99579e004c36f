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

typedef uint8_t bytes4 __attribute__((vector_size(4)));
typedef int32_t ints4 __attribute__((vector_size(16)));
typedef uint8_t bytes8 __attribute__((vector_size(8)));
typedef int32_t ints8 __attribute__((vector_size(32)));

FOR_EVERY_PROCESSOR static void rows_of_colour(uint8_t *dst, const uint8_t *src, int rows, size_t stride, resample_axis a) {
	for (int y = 0; y < rows; y++, src += stride)
		for (int x = 0; x < a.n; x++, dst += 3) {
			ints4 sum = {half, half, half, half};
			const uint8_t *p = src + 3 * (size_t)a.first[x];
			const int32_t *w = a.weights + (size_t)x * a.most;
			for (int k = 0; k < a.count[x]; k++, p += 3) {
				bytes4 pixel; // and the first byte of the next one
				memcpy(&pixel, p, 4);
				sum += __builtin_convertvector(pixel, ints4) * w[k];
			}
			sum >>= point;
			dst[0] = sum[0], dst[1] = sum[1], dst[2] = sum[2];
		}
}

static void rows_of_grey(uint8_t *dst, const uint8_t *src, int rows, size_t stride, resample_axis a) {
	for (int y = 0; y < rows; y++, src += stride)
		for (int x = 0; x < a.n; x++) {
			int32_t sum = half;
			for (int k = 0; k < a.count[x]; k++)
				sum += a.weights[(size_t)x * a.most + k] * src[a.first[x] + k];
			*dst++ = sum >> point;
		}
}

void resample_rows(uint8_t *dst, const uint8_t *src, int rows, size_t stride, int channels, resample_axis axis) {
	if (channels == 3)
		rows_of_colour(dst, src, rows, stride, axis);
	else
		rows_of_grey(dst, src, rows, stride, axis);
}

FOR_EVERY_PROCESSOR void resample_columns(uint8_t *dst, const uint8_t *src, size_t width, size_t stride, resample_axis a) {
	for (int y = 0; y < a.n; y++, dst += width) {
		const uint8_t *from = src + stride * a.first[y];
		const int32_t *w = a.weights + (size_t)y * a.most;
		size_t x = 0;
		for (; x + 8 <= width; x += 8) {
			ints8 sum = {half, half, half, half, half, half, half, half};
			for (int k = 0; k < a.count[y]; k++) {
				bytes8 pixels;
				memcpy(&pixels, from + k * stride + x, 8);
				sum += __builtin_convertvector(pixels, ints8) * w[k];
			}
			bytes8 result = __builtin_convertvector(sum >> point, bytes8);
			memcpy(dst + x, &result, 8);
		}
		for (; x < width; x++) {
			int32_t sum = half;
			for (int k = 0; k < a.count[y]; k++)
				sum += w[k] * from[k * stride + x];
			dst[x] = sum >> point;
		}
	}
}
