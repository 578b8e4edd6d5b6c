/* Products of bfloat16 by the instruction for them: Intel from Cooper Lake, AMD from Zen 4 on. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "target.h"
TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")

#define LANES 16
#define ROWS 8
#define NAME(x) avx512_bf16_##x
#include "multiply.h"

INLINE void tile_bfloat16(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    __m512 sums[ROWS][2] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL) {
        FETCH(panel);
        UNROLL for (int row = 0; row < count; row++) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32(((const int *)(rows + (size_t)row * stride))[step]);
            UNROLL for (int part = 0; part < parts; part++)
                sums[row][part] = _mm512_dpbf16_ps(sums[row][part], x, (__m512bh)_mm512_loadu_si512(panel + part * 64));
        }
    }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        _mm512_storeu_ps((float *)(tile + row * PANEL * 4 + part * 64), sums[row][part]);
}

MULTIPLY(bfloat16)
const Multiply multiply_bfloat16_avx512_bf16 = avx512_bf16_multiply_bfloat16;
TARGET_END
#endif
