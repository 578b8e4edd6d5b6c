/* Products of bytes by the instruction for them, in 512 bits: Intel from Cascade Lake, AMD from Zen 4 on. */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "target.h"
TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

#define LANES 16
#define ROWS 8
#define NAME(x) avx512_vnni_##x
#include "multiply.h"

INLINE void tile_int8(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    __m512i sums[ROWS][2] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL) {
        FETCH(panel);
        UNROLL for (int row = 0; row < count; row++) {
            const __m512i x = _mm512_set1_epi32(((const int *)(rows + (size_t)row * stride))[step]);
            UNROLL for (int part = 0; part < parts; part++)
                sums[row][part] = _mm512_dpbusd_epi32(sums[row][part], x, _mm512_loadu_si512(panel + part * 64));
        }
    }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        _mm512_storeu_si512(tile + row * PANEL * 4 + part * 64, sums[row][part]);
}

MULTIPLY(int8)
const Multiply multiply_int8_avx512_vnni = avx512_vnni_multiply_int8;
TARGET_END
#endif
