#ifndef DECODE_H
#define DECODE_H

#include <stddef.h>

// An image while it is decoded. message is set by every function that returns 0.
typedef struct {
	int width, height;
	int channels; // of the result: 1 grey, 3 RGB, 4 inverted CMYK
	char message[256];
} jpeg_image;

// jpeg_size reads the header.
int jpeg_size(const unsigned char *data, size_t size, jpeg_image *image);

// A part of an image.
typedef struct {
	int left, top, width, height;
} jpeg_region;

// jpeg_decode writes width·height·channels bytes of a region that lies within what jpeg_size told.
int jpeg_decode(const unsigned char *data, size_t size, jpeg_image *image, size_t most_memory, jpeg_region region, unsigned char *out);

#endif
