/* Products by tiles of 16 rows of 64 bytes: Intel from Sapphire Rapids on. A panel is two of them side by side. Rows are
 * always multiplied by sixteen: whatever lies behind the last one is multiplied along, and changes no other row.
 */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "target.h"
TARGET("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8,amx-bf16")
#include "multiply.h"

#define SEEN __asm__ volatile("" ::: "memory")

static void amx_begin(void) {
    struct {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) shape.bytes[tile] = 64, shape.rows[tile] = 16;
    SEEN; /* by the instruction, of which the compiler knows too little */
    _tile_loadconfig(&shape);
}

static void amx_end(void) { _tile_release(); }

/* Tiles 0-3: results of 2 x 2; 4, 5: rows; 6, 7: the panel. Sixteen steps at a time. */
#define TILES(kind, dot)                                                                                                 \
    static void amx_multiply_##kind(const void *weights, const char *rows, size_t stride, int count, int steps, void *tile) { \
        char *to = tile;                                                                                                 \
        for (; count > 16; count -= 32, rows += 32 * stride, to += 32 * PANEL * 4) {                                     \
            const char *panel = weights, *x = rows;                                                                      \
            _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);                                                  \
            for (int step = 0; step < steps; step += 16, panel += 16 * 4 * PANEL, x += 64) {                             \
                _tile_loadd(4, x, stride);                                                                               \
                _tile_loadd(6, panel, 4 * PANEL);                                                                        \
                dot(0, 4, 6);                                                                                            \
                _tile_loadd(7, panel + 64, 4 * PANEL);                                                                   \
                dot(1, 4, 7);                                                                                            \
                _tile_loadd(5, x + 16 * stride, stride);                                                                 \
                dot(2, 5, 6);                                                                                            \
                dot(3, 5, 7);                                                                                            \
                UNROLL for (int line = 0; line < 32; line++) __builtin_prefetch(panel + AHEAD + line * 64);              \
            }                                                                                                            \
            _tile_stored(0, to, 4 * PANEL); _tile_stored(1, to + 64, 4 * PANEL);                                         \
            _tile_stored(2, to + 16 * PANEL * 4, 4 * PANEL); _tile_stored(3, to + 16 * PANEL * 4 + 64, 4 * PANEL);       \
        }                                                                                                                \
        if (count <= 0) return;                                                                                          \
        const char *panel = weights;                                                                                     \
        _tile_zero(0); _tile_zero(1);                                                                                    \
        for (int step = 0; step < steps; step += 16, panel += 16 * 4 * PANEL, rows += 64) {                              \
            _tile_loadd(4, rows, stride);                                                                                \
            _tile_loadd(6, panel, 4 * PANEL);                                                                            \
            dot(0, 4, 6);                                                                                                \
            _tile_loadd(7, panel + 64, 4 * PANEL);                                                                       \
            dot(1, 4, 7);                                                                                                \
            UNROLL for (int line = 0; line < 32; line++) __builtin_prefetch(panel + AHEAD + line * 64);                  \
        }                                                                                                                \
        _tile_stored(0, to, 4 * PANEL); _tile_stored(1, to + 64, 4 * PANEL);                                             \
    }

TILES(bfloat16, _tile_dpbf16ps)
TILES(int8, _tile_dpbusd)

/* For few rows the tiles are the slower way to read the weights. Sums of integers are the same in any order, so that it
 * shows in nothing else; those of bfloat16 are not, and take one way for any number of rows.
 */
extern const Multiply multiply_int8_avx512_vnni;

static void multiply_int8(const void *weights, const char *rows, size_t stride, int count, int steps, void *tile) {
    (count <= 4 ? multiply_int8_avx512_vnni : amx_multiply_int8)(weights, rows, stride, count, steps, tile);
}

const Multiply multiply_bfloat16_amx = amx_multiply_bfloat16, multiply_int8_amx = multiply_int8;
void (*const begin_amx)(void) = amx_begin, (*const end_amx)(void) = amx_end;
TARGET_END
#endif
