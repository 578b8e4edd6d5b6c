/* AVX2 and FMA: Intel from Haswell, AMD from Zen on. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "target.h"
TARGET("avx2,fma")

#define LANES 8
#define ROWS 4
#define NAME(x) avx2_##x
#include "lanes.h"

/* Exact: vpmaddubsw would saturate, so bytes are widened to 16 bits, the even and the odd ones apart. */
INLINE void tile_int8(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    __m256i sums[ROWS][PANEL / LANES] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL) {
        FETCH(panel);
        __m256i even[PANEL / LANES], odd[PANEL / LANES];
        UNROLL for (int part = 0; part < parts; part++) {
            const __m256i four = _mm256_loadu_si256((const __m256i *)(panel + part * 4 * LANES));
            even[part] = _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8);
            odd[part] = _mm256_srai_epi16(four, 8);
        }
        UNROLL for (int row = 0; row < count; row++) {
            const __m256i x = _mm256_set1_epi32(((const int *)(rows + (size_t)row * stride))[step]);
            const __m256i x_even = _mm256_and_si256(x, _mm256_set1_epi16(255)), x_odd = _mm256_srli_epi16(x, 8);
            UNROLL for (int part = 0; part < parts; part++) {
                const __m256i both = _mm256_add_epi32(_mm256_madd_epi16(even[part], x_even), _mm256_madd_epi16(odd[part], x_odd));
                sums[row][part] = _mm256_add_epi32(sums[row][part], both);
            }
        }
    }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        _mm256_storeu_si256((__m256i *)(tile + (row * PANEL + part * LANES) * 4), sums[row][part]);
}

MULTIPLY(float32)
MULTIPLY(bfloat16)
MULTIPLY(int8)

const Path path_avx2 = {COMMON("avx2"), .multiply = {avx2_multiply_float32, avx2_multiply_bfloat16, avx2_multiply_int8}};
TARGET_END
#endif
