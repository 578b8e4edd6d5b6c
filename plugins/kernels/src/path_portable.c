/* Any processor that the compiler knows, ARM among them. */
#include "kernels.h"

#define LANES 4
#define ROWS 4
#define NAME(x) portable_##x
#include "lanes.h"

INLINE void tile_int8(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    Ints sums[ROWS][PANEL / LANES] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL)
        UNROLL for (int part = 0; part < parts; part++) {
            const Words four = LOAD(Words, panel + part * 4 * LANES);
            const Ints a = (Ints)(four << 24) >> 24, b = (Ints)(four << 16) >> 24, c = (Ints)(four << 8) >> 24, d = (Ints)four >> 24;
            UNROLL for (int row = 0; row < count; row++) {
                const uint8_t *x = (const uint8_t *)rows + (size_t)row * stride + step * 4;
                sums[row][part] += a * (int)x[0] + b * (int)x[1] + c * (int)x[2] + d * (int)x[3];
            }
        }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        *(Ints *)(tile + (row * PANEL + part * LANES) * 4) = sums[row][part];
}

MULTIPLY(float32)
MULTIPLY(bfloat16)
MULTIPLY(int8)

const Path path_portable = {COMMON("portable"), .multiply = {portable_multiply_float32, portable_multiply_bfloat16, portable_multiply_int8}};
