/* How a path multiplies all rows with a panel, given its inner loop
 *
 *   tile_KIND(panel, rows, stride, steps, count, parts, tile)
 *
 * over `count` rows and `parts` vectors of the panel. Both are constants there, so that all sums stay in registers. A sum is
 * taken in the order of the steps, however many rows there are: what a row gets does not depend on those beside it.
 */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define AHEAD 2048 /* bytes of a panel that are fetched before they are needed */
#define FETCH(panel) __builtin_prefetch((panel) + AHEAD), __builtin_prefetch((panel) + AHEAD + 64)

#define FEW(kind, many, parts) case many: tile_##kind(panel + at, rows, stride, steps, many, parts, to + at); break;

/* All rows with a whole panel: ROWS at a time over 2 vectors, a single one over all. */
#define MULTIPLY(kind)                                                                                                   \
    static void NAME(multiply_##kind)(const void *weights, const char *rows, size_t stride, int count, int steps, void *tile) { \
        const char *panel = weights;                                                                                     \
        char *to = tile;                                                                                                 \
        for (int left = count; left > 0; left -= ROWS, rows += ROWS * stride, to += ROWS * PANEL * 4)                   \
            for (int at = 0; at < 4 * PANEL; at += left == 1 ? 4 * PANEL : 8 * LANES)                                    \
                switch (left) {                                                                                          \
                    FEW(kind, 1, PANEL / LANES) FEW(kind, 2, 2) FEW(kind, 3, 2) SOME(kind)                              \
                    default: tile_##kind(panel + at, rows, stride, steps, ROWS, 2, to + at);                            \
                }                                                                                                        \
    }
#if ROWS == 8
#define SOME(kind) FEW(kind, 4, 2) FEW(kind, 5, 2) FEW(kind, 6, 2) FEW(kind, 7, 2)
#else
#define SOME(kind)
#endif
