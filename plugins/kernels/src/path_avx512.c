/* AVX-512 without its later additions: Intel from Skylake-X on. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "target.h"
TARGET("avx512f,avx512bw,avx512dq,avx512vl,fma")

#define LANES 16
#define ROWS 8
#define NAME(x) avx512_##x
#include "lanes.h"

INLINE void tile_int8(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    __m512i sums[ROWS][2] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL) {
        FETCH(panel);
        __m512i even[2], odd[2]; /* as in path_avx2.c */
        UNROLL for (int part = 0; part < parts; part++) {
            const __m512i four = _mm512_loadu_si512(panel + part * 64);
            even[part] = _mm512_srai_epi16(_mm512_slli_epi16(four, 8), 8);
            odd[part] = _mm512_srai_epi16(four, 8);
        }
        UNROLL for (int row = 0; row < count; row++) {
            const __m512i x = _mm512_set1_epi32(((const int *)(rows + (size_t)row * stride))[step]);
            const __m512i x_even = _mm512_and_si512(x, _mm512_set1_epi16(255)), x_odd = _mm512_srli_epi16(x, 8);
            UNROLL for (int part = 0; part < parts; part++) {
                const __m512i both = _mm512_add_epi32(_mm512_madd_epi16(even[part], x_even), _mm512_madd_epi16(odd[part], x_odd));
                sums[row][part] = _mm512_add_epi32(sums[row][part], both);
            }
        }
    }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        _mm512_storeu_si512(tile + (row * PANEL + part * 16) * 4, sums[row][part]);
}

MULTIPLY(float32)
MULTIPLY(bfloat16)
MULTIPLY(int8)

const Path path_avx512 = {COMMON("avx512"), .multiply = {avx512_multiply_float32, avx512_multiply_bfloat16, avx512_multiply_int8}};
TARGET_END
#endif
