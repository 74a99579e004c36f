#include <setjmp.h>
#include <stdio.h>
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

int jpeg_decode(const unsigned char *data, size_t size, jpeg_image *image, size_t most_memory, unsigned char *out) {
	decoder self;
	init(&self, image);
	if (setjmp(self.failed)) {
		jpeg_destroy_decompress(&self.d);
		return 0;
	}
	begin(&self, data, size);
	self.d.mem->max_memory_to_use = (long)most_memory;
	jpeg_start_decompress(&self.d);
	size_t row = (size_t)self.d.output_width * self.d.output_components;
	while (self.d.output_scanline < self.d.output_height) {
		JSAMPROW at = out + row * self.d.output_scanline;
		jpeg_read_scanlines(&self.d, &at, 1);
	}
	jpeg_finish_decompress(&self.d);
	jpeg_destroy_decompress(&self.d);
	return 1;
}
