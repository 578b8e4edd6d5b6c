/* Products of bytes by the instruction for them, in the 256 bits of AVX-VNNI: Intel from Alder Lake on. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "target.h"
TARGET("avx2,fma,avxvnni")

#define LANES 8
#define ROWS 4
#define NAME(x) avx2_vnni_##x
#include "multiply.h"

INLINE void tile_int8(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    __m256i sums[ROWS][PANEL / LANES] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL) {
        FETCH(panel);
        UNROLL for (int row = 0; row < count; row++) {
            const __m256i x = _mm256_set1_epi32(((const int *)(rows + (size_t)row * stride))[step]);
            UNROLL for (int part = 0; part < parts; part++)
                sums[row][part] = _mm256_dpbusd_avx_epi32(sums[row][part], x, _mm256_loadu_si256((const __m256i *)(panel + part * 32)));
        }
    }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        _mm256_storeu_si256((__m256i *)(tile + row * PANEL * 4 + part * 32), sums[row][part]);
}

MULTIPLY(int8)
const Multiply multiply_int8_avx2_vnni = avx2_vnni_multiply_int8;
TARGET_END
#endif
