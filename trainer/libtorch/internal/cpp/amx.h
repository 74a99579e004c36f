// Products of bfloat16 matrices on Intel's AMX, and what puts memory in their order. Matrices come in blocks of 32×32
// numbers, 2 KiB: two of the processor's tiles, which are 16 rows of 64 bytes.
#pragma once

#include <cstdint>

// Whether this processor has AMX for bfloat16, and the kernel lets us use it.
bool amx();

// Sets this thread's tiles to 16 rows of 64 bytes; before becomes what they were set to, by oneDNN perhaps.
void amx_configure(char before[64]);
void amx_restore(const char before[64]);

// While it lives, this thread's tiles are ours.
class AmxTiles {
 public:
  AmxTiles() { amx_configure(before); }
  ~AmxTiles() { amx_restore(before); }
  AmxTiles(const AmxTiles &) = delete;

 private:
  alignas(64) char before[64];
};

constexpr int64_t amx_block = 32 * 32;

// Blocks of 32 channels of up to 32 images at one pixel; images that are missing are 0. stride is that of images.
//
// As a left factor: [image][channel].
void amx_rows(const uint16_t *x, int64_t stride, int64_t images, uint16_t *to);
// As a right factor: [half of the channels][pair of images][channel][image of the pair].
void amx_pairs(const uint16_t *x, int64_t stride, int64_t images, uint16_t *to);
// As a left factor, transposed: [channel][image].
void amx_columns(const uint16_t *x, int64_t stride, int64_t images, uint16_t *to);
// The block of 32 rows × 32 columns of w, given by its strides, as a right factor.
void amx_weights(const float *w, int64_t row, int64_t column, uint16_t *to);

// Where the factors of a product lie, in blocks.
struct AmxPair {
  int32_t a, b;
};

// c[32][32] = Σ a·b, or with add c += Σ a·b: over n pairs, and for each over so many blocks, whose distances in blocks are given.
void amx_product(const uint16_t *a, const uint16_t *b, const AmxPair *pairs, int64_t n, int64_t blocks, int64_t a_next,
                 int64_t b_next, float *c, int64_t c_row, bool add);
// y[image][32] = c[image][32] in bfloat16, for so many images.
void amx_store(const float *c, int64_t images, uint16_t *y, int64_t stride);
