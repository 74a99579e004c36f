#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "decode.h"

// Progressive images come in scans, each of which goes over all pixels: some hundred bytes could say so many thousand times.
enum { most_scans = 500 };

typedef struct {
	struct jpeg_decompress_struct d; // must be first: libjpeg passes it
	struct jpeg_error_mgr errors;
	struct jpeg_source_mgr source;
	struct jpeg_progress_mgr progress;
	jmp_buf failed;
	jpeg_image *image;
} decoder;

static void fail(j_common_ptr d) {
	decoder *self = (decoder *)d;
	(*d->err->format_message)(d, self->image->message);
	longjmp(self->failed, 1);
}

static void fail_with(j_decompress_ptr d, const char *message) {
	decoder *self = (decoder *)d;
	snprintf(self->image->message, sizeof self->image->message, "%s", message);
	longjmp(self->failed, 1);
}

// Warnings are of damaged data, which Pillow shows as well as it can, too.
static void ignore(j_common_ptr d, int level) {}
static void ignore_message(j_common_ptr d) {}
static void nothing(j_decompress_ptr d) {}

static boolean cut_off(j_decompress_ptr d) {
	fail_with(d, "cut off");
	return FALSE;
}

static void skip(j_decompress_ptr d, long n) {
	if (n <= 0)
		return;
	if ((size_t)n > d->src->bytes_in_buffer)
		cut_off(d);
	d->src->next_input_byte += n;
	d->src->bytes_in_buffer -= n;
}

static void check_scans(j_common_ptr d) {
	if (((j_decompress_ptr)d)->input_scan_number > most_scans)
		fail_with((j_decompress_ptr)d, "more than 500 scans");
}

// begin reads the header and chooses the colours of the result: as Pillow does it.
static void begin(decoder *self, const unsigned char *data, size_t size) {
	j_decompress_ptr d = &self->d;
	jpeg_create_decompress(d);
	self->source = (struct jpeg_source_mgr){data, size, nothing, cut_off, skip, jpeg_resync_to_restart, nothing};
	d->src = &self->source;
	self->progress.progress_monitor = check_scans;
	d->progress = &self->progress;
	jpeg_read_header(d, TRUE);
	switch (d->num_components) {
	case 1:
		d->out_color_space = JCS_GRAYSCALE;
		break;
	case 3:
		d->out_color_space = JCS_RGB;
		break;
	case 4:
		d->out_color_space = JCS_CMYK;
		break;
	default:
		fail_with(d, "neither one, three nor four components");
	}
	self->image->width = d->image_width;
	self->image->height = d->image_height;
	self->image->channels = d->num_components;
}

static void init(decoder *self, jpeg_image *image) {
	memset(self, 0, sizeof *self);
	self->image = image;
	self->d.err = jpeg_std_error(&self->errors);
	self->errors.error_exit = fail;
	self->errors.emit_message = ignore;
	self->errors.output_message = ignore_message;
}

int jpeg_size(const unsigned char *data, size_t size, jpeg_image *image) {
	decoder self;
	init(&self, image);
	if (setjmp(self.failed)) {
		jpeg_destroy_decompress(&self.d);
		return 0;
	}
	begin(&self, data, size);
	jpeg_destroy_decompress(&self.d);
	return 1;
}

// The colours of a pixel depend on its neighbours: those at the border of what is decoded would be others.
enum { margin = 2 };

// narrow leaves out columns on both sides of the region, as whole blocks. It returns how many of those that are left
// come before the region.
static int narrow(j_decompress_ptr d, jpeg_region r) {
	JDIMENSION from = r.left > margin ? r.left - margin : 0;
	JDIMENSION right = r.left + r.width + margin;
	JDIMENSION width = (right < d->image_width ? right : d->image_width) - from;
	jpeg_crop_scanline(d, &from, &width);
	return r.left - (int)from;
}

// check_end looks for the marker at the end of the image in what was not decoded. It cannot be among the pixels.
static void check_end(decoder *self) {
	const int end_of_image = 0xd9;
	if (self->d.unread_marker == end_of_image)
		return;
	const unsigned char *at = self->source.next_input_byte, *end = at + self->source.bytes_in_buffer;
	while ((at = memchr(at, 0xff, end - at)) && at + 1 < end)
		if (*++at == end_of_image)
			return;
	cut_off(&self->d);
}

int jpeg_decode(const unsigned char *data, size_t size, jpeg_image *image, size_t most_memory, jpeg_region region, unsigned char *out) {
	decoder self;
	init(&self, image);
	// What is changed after setjmp, and needed when it returns again.
	unsigned char *volatile row = NULL;
	if (setjmp(self.failed)) {
		free(row);
		jpeg_destroy_decompress(&self.d);
		return 0;
	}
	j_decompress_ptr d = &self.d;
	begin(&self, data, size);
	d->mem->max_memory_to_use = (long)most_memory;
	jpeg_start_decompress(d);
	size_t pixel = d->output_components, before = 0;
	// Blocks of several scans are made smooth by their neighbours where the last scans are missing.
	int in_part = !jpeg_has_multiple_scans(d);
	if (in_part && region.width < (int)d->image_width)
		before = narrow(d, region);
	else
		before = region.left;
	if (!(row = malloc(d->output_width * pixel)))
		fail_with(d, "no memory");
	if (in_part && region.top > 0)
		jpeg_skip_scanlines(d, region.top);
	while ((int)d->output_scanline < region.top + region.height) {
		int y = d->output_scanline;
		JSAMPROW at = row;
		jpeg_read_scanlines(d, &at, 1);
		if (y >= region.top)
			memcpy(out + region.width * pixel * (y - region.top), row + before * pixel, region.width * pixel);
	}
	if (d->output_scanline == d->output_height)
		jpeg_finish_decompress(d);
	else if (in_part)
		check_end(&self);
	free(row);
	jpeg_destroy_decompress(d);
	return 1;
}
