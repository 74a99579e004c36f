#ifndef RESAMPLE_H
#define RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

// resample_axis says of which pixels each of n pixels of the result is the weighted sum: so many taps from first[i] on, with the
// weights at weights + i·taps.
typedef struct {
	const int32_t *first, *weights;
	int taps, n;
} resample_axis;

// resample_rows makes n pixels of each of so many rows of src, which lie stride bytes apart. With three channels it reads a
// byte behind the last pixel of src.
void resample_rows(uint8_t *dst, const uint8_t *src, int rows, size_t stride, int channels, resample_axis axis);

// resample_columns makes n rows of width bytes of those of src, which lie stride bytes apart.
void resample_columns(uint8_t *dst, const uint8_t *src, size_t width, size_t stride, resample_axis axis);

#endif
