/* The functions of a path, in the compiler's own vectors of LANES floats. A path file defines LANES, ROWS (of a product at
 * a time) and NAME(x), which gives each function a name of its own, and includes this. What one row gets is computed in the
 * same order whatever rows are beside it.
 */
#include <math.h>
#include <string.h>

#include "multiply.h"

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

#define LOAD(type, from) (*(const type *)(from))

INLINE Floats choose(Ints which, Floats yes, Floats no) { return (Floats)((which & (Ints)yes) | (~which & (Ints)no)); }

/* e to the x within 2 units in the last place, after Cody and Waite 1980; x is held to [-87, 88], and NaN stays NaN. */
INLINE Floats exponential(Floats x) {
    x = choose(x < -87.0f, x - x - 87.0f, x);
    x = choose(x > 88.0f, x - x + 88.0f, x);
    const Floats shifted = x * 1.44269504f + 12582912.0f; /* 1.5 x 2^23: its last bits are the rounded quotient */
    const Floats whole = shifted - 12582912.0f;
    const Floats r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Floats)((Ints)p + ((Ints)shifted << 23));
}

/* GELU in its tanh form, Hendrycks and Gimpel 2016. */
INLINE Floats gelu(Floats x) { return x / (exponential((x + x * x * x * 0.044715f) * -1.5957691216f) + 1.0f); }

INLINE float total(Floats x) {
    float sum = 0;
    UNROLL for (int lane = 0; lane < LANES; lane++) sum += x[lane];
    return sum;
}

INLINE float greatest(Floats x) {
    float found = x[0];
    UNROLL for (int lane = 1; lane < LANES; lane++) found = x[lane] > found ? x[lane] : found;
    return found;
}

/* The part of `x` from `at` on that `count` allows; `fill` in the other lanes. */
INLINE Floats partly(const float *x, int count, float fill) {
    Floats found;
    for (int lane = 0; lane < LANES; lane++) found[lane] = lane < count ? x[lane] : fill;
    return found;
}

static void NAME(norm)(const float *x, const float *weight, const float *bias, float epsilon, int width, float *out) {
    const int whole = width / LANES * LANES;
    Floats sums = partly(x + whole, width - whole, 0);
    for (int i = 0; i < whole; i += LANES) sums += LOAD(Floats, x + i);
    const float mean = total(sums) / (float)width;
    Floats apart = partly(x + whole, width - whole, mean) - mean;
    Floats squares = apart * apart;
    for (int i = 0; i < whole; i += LANES) {
        apart = LOAD(Floats, x + i) - mean;
        squares += apart * apart;
    }
    const float factor = 1.0f / sqrtf(total(squares) / (float)width + epsilon);
    for (int i = 0; i < whole; i += LANES)
        *(Floats *)(out + i) = (LOAD(Floats, x + i) - mean) * factor * LOAD(Floats, weight + i) + LOAD(Floats, bias + i);
    for (int i = whole; i < width; i++) out[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

static void NAME(prepare_float32)(const float *x, int width, int padded, void *out, float *scale, int32_t *zero) {
    (void)padded, (void)scale, (void)zero;
    memcpy(out, x, sizeof(float) * (size_t)width);
}

static void NAME(prepare_bfloat16)(const float *x, int width, int padded, void *out, float *scale, int32_t *zero) {
    (void)scale, (void)zero;
    uint16_t *to = out;
    const int whole = width / LANES * LANES;
    for (int i = 0; i < whole; i += LANES) {
        const Words bits = LOAD(Words, x + i);
        const Words nan = (Words)((bits & 0x7fffffff) > 0x7f800000);
        const Words even = bits + 0x7fff + (bits >> 16 & 1);
        *(Halves *)(to + i) = __builtin_convertvector(((bits | 0x400000) & nan) >> 16 | (even & ~nan) >> 16, Halves);
    }
    for (int i = whole; i < padded; i++) to[i] = i < width ? to_bfloat16(x[i]) : 0;
}

/* Bytes over the row's own range, in which 0 always is. A NaN or infinity makes the scale NaN, and so the whole result. */
static void NAME(prepare_int8)(const float *x, int width, int padded, void *out, float *scale, int32_t *zero) {
    uint8_t *to = out;
    const int whole = width / LANES * LANES;
    Floats high = partly(x + whole, width - whole, 0), low = -high, odd = high * 0.0f;
    for (int i = 0; i < whole; i += LANES) {
        const Floats v = LOAD(Floats, x + i);
        high = choose(v > high, v, high);
        low = choose(-v > low, -v, low);
        odd += v * 0.0f;
    }
    const float top = fmaxf(greatest(high), 0), bottom = fmaxf(greatest(low), 0), range = top + bottom;
    *scale = range > 0 ? range / 255.0f + total(odd) : 1.0f + total(odd);
    if (!(*scale < INFINITY)) {
        *scale = NAN, *zero = 0;
        memset(to, 0, (size_t)padded);
        return;
    }
    const float factor = range > 0 ? 255.0f / range : 0;
    const int base = (int)(bottom * factor + 0.5f);
    *zero = base;
    for (int i = 0; i < whole; i += LANES) {
        const Floats shifted = LOAD(Floats, x + i) * factor + 12582912.0f; /* rounds to the nearest; the integer is in its bits */
        Ints v = (Ints)shifted - 0x4b400000 + base;
        v &= ~(v >> 31);
        const Ints over = v > 255;
        *(Bytes *)(to + i) = __builtin_convertvector((over & 255) | (~over & v), Bytes);
    }
    for (int i = whole; i < padded; i++) {
        const int v = i < width ? (int)lrintf(x[i] * factor) + base : 0;
        to[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

INLINE void put(Floats v, enum finish kind, float *out) {
    if (kind == ADD) v += LOAD(Floats, out);
    if (kind == GELU) v = gelu(v);
    *(Floats *)out = v;
}

/* `columns` results of a row; those of the last panel may be fewer than 32, and are put through a whole one. */
INLINE void put_row(const float *row, int columns, enum finish kind, float *out) {
    float whole[PANEL];
    float *to = columns == PANEL ? out : whole;
    if (to == whole && kind == ADD) memcpy(whole, out, sizeof(float) * (size_t)columns);
    UNROLL for (int i = 0; i < PANEL; i += LANES) put(LOAD(Floats, row + i), kind, to + i);
    if (to == whole) memcpy(out, whole, sizeof(float) * (size_t)columns);
}

static void NAME(finish_float)(const void *tile, int count, int columns, const Linear *linear, int first,
                               const float *scales, const int32_t *zeros, enum finish kind, float *out, size_t stride) {
    (void)scales, (void)zeros;
    for (int row = 0; row < count; row++) {
        float v[PANEL];
        UNROLL for (int i = 0; i < PANEL; i += LANES)
            *(Floats *)(v + i) = LOAD(Floats, (const float *)tile + row * PANEL + i) + LOAD(Floats, linear->bias + first + i);
        put_row(v, columns, kind, out + (size_t)row * stride);
    }
}

static void NAME(finish_int8)(const void *tile, int count, int columns, const Linear *linear, int first,
                              const float *scales, const int32_t *zeros, enum finish kind, float *out, size_t stride) {
    for (int row = 0; row < count; row++) {
        float v[PANEL];
        UNROLL for (int i = 0; i < PANEL; i += LANES) {
            const Ints whole = LOAD(Ints, (const int32_t *)tile + row * PANEL + i) - LOAD(Ints, linear->sums + first + i) * zeros[row];
            *(Floats *)(v + i) = __builtin_convertvector(whole, Floats) * (LOAD(Floats, linear->scales + first + i) * scales[row]) +
                                 LOAD(Floats, linear->bias + first + i);
        }
        put_row(v, columns, kind, out + (size_t)row * stride);
    }
}

INLINE void low_high(const void *from, Floats *low, Floats *high) { /* pairs of bfloat16 */
    const Words both = LOAD(Words, from);
    *low = (Floats)(both << 16);
    *high = (Floats)(both & 0xffff0000);
}

/* Keys: [lines][width][16] float32, or [lines][width / 2][16][2] bfloat16. Two lines at a time, so that sums overlap. */
INLINE void lines_float32(const float *query, const float *keys, int width, int many, ptrdiff_t ahead, float *scores) {
    Floats sums[2][LINE / LANES] = {0};
    for (int i = 0; i < width; i++)
        UNROLL for (int line = 0; line < many; line++) UNROLL for (int part = 0; part < LINE / LANES; part++) {
            if (part == 0) __builtin_prefetch((const char *)(keys + (line * width + i) * LINE) + ahead, 0, 2);
            sums[line][part] += LOAD(Floats, keys + (line * width + i) * LINE + part * LANES) * query[i];
        }
    memcpy(scores, sums, sizeof(float) * LINE * (size_t)many);
}

static void NAME(scores_float32)(const float *query, const void *keys, int width, int lines, ptrdiff_t ahead, float *scores) {
    const float *at = keys;
    int line = 0;
    for (; line + 2 <= lines; line += 2) lines_float32(query, at + line * width * LINE, width, 2, ahead, scores + line * LINE);
    if (line < lines) lines_float32(query, at + line * width * LINE, width, 1, ahead, scores + line * LINE);
}

INLINE void lines_bfloat16(const float *query, const uint16_t *keys, int width, int many, ptrdiff_t ahead, float *scores) {
    Floats sums[2][2][LINE / LANES] = {0};
    for (int i = 0; i < width; i += 2)
        UNROLL for (int line = 0; line < many; line++) UNROLL for (int part = 0; part < LINE / LANES; part++) {
            Floats low, high;
            if (part == 0) __builtin_prefetch((const char *)(keys + (line * width + i) * LINE) + ahead, 0, 2);
            low_high(keys + (line * width + i) * LINE + part * LANES * 2, &low, &high);
            sums[0][line][part] += low * query[i];
            sums[1][line][part] += high * query[i + 1];
        }
    UNROLL for (int line = 0; line < many; line++) UNROLL for (int part = 0; part < LINE / LANES; part++)
        *(Floats *)(scores + line * LINE + part * LANES) = sums[0][line][part] + sums[1][line][part];
}

static void NAME(scores_bfloat16)(const float *query, const void *keys, int width, int lines, ptrdiff_t ahead, float *scores) {
    const uint16_t *at = keys;
    int line = 0;
    for (; line + 2 <= lines; line += 2) lines_bfloat16(query, at + line * width * LINE, width, 2, ahead, scores + line * LINE);
    if (line < lines) lines_bfloat16(query, at + line * width * LINE, width, 1, ahead, scores + line * LINE);
}

static float NAME(soften)(float *scores, int count, float scale) {
    const int whole = count / LANES * LANES;
    Floats high = partly(scores + whole, count - whole, scores[0]);
    for (int i = 0; i < whole; i += LANES) {
        const Floats v = LOAD(Floats, scores + i);
        high = choose(v > high, v, high);
    }
    const float top = greatest(high);
    Floats sums = partly(scores + whole, count - whole, -INFINITY); /* exp gives those next to nothing: they are cleared below */
    sums = exponential((sums - top) * scale);
    for (int lane = 0; lane < LANES; lane++) {
        if (lane < count - whole) scores[whole + lane] = sums[lane];
        else sums[lane] = 0;
    }
    for (int i = 0; i < whole; i += LANES) {
        const Floats v = exponential((LOAD(Floats, scores + i) - top) * scale);
        *(Floats *)(scores + i) = v;
        sums += v;
    }
    return total(sums);
}

/* Values: [positions][width] float32 or bfloat16; 64 of the width at a time. */
INLINE Floats widened(const uint16_t *from) {
    return (Floats)(__builtin_convertvector(LOAD(Halves, from), Words) << 16);
}

INLINE void mix_columns(const float *weights, const void *values, int half, int width, int count, int parts, ptrdiff_t ahead,
                        float *out) {
    Floats sums[2][4] = {0};
    for (int i = 0; i < count; i += 2)
        UNROLL for (int odd = 0; odd < 2; odd++) {
            if (i + odd == count) break;
            UNROLL for (int part = 0; part < parts; part++) {
                const size_t at = (size_t)(i + odd) * (size_t)width + (size_t)(part * LANES);
                if (part * LANES % 32 == 0) __builtin_prefetch((const char *)values + at * (half ? 2 : 4) + ahead, 0, 2);
                const Floats v = half ? widened((const uint16_t *)values + at) : LOAD(Floats, (const float *)values + at);
                sums[odd][part] += v * weights[i + odd];
            }
        }
    UNROLL for (int part = 0; part < parts; part++) *(Floats *)(out + part * LANES) = sums[0][part] + sums[1][part];
}

INLINE void mix(const float *weights, const char *values, int half, int width, int count, ptrdiff_t ahead, float *out) {
    const int size = half ? 2 : 4;
    int at = 0;
    for (; at + 4 * LANES <= width; at += 4 * LANES) mix_columns(weights, values + at * size, half, width, count, 4, ahead, out + at);
    for (; at < width; at += LANES) mix_columns(weights, values + at * size, half, width, count, 1, ahead, out + at);
}

static void NAME(mix_float32)(const float *weights, const void *values, int width, int count, ptrdiff_t ahead, float *out) {
    mix(weights, values, 0, width, count, ahead, out);
}

static void NAME(mix_bfloat16)(const float *weights, const void *values, int width, int count, ptrdiff_t ahead, float *out) {
    mix(weights, values, 1, width, count, ahead, out);
}

INLINE void tile_float32(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    Floats sums[ROWS][PANEL / LANES] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL) {
        FETCH(panel);
        UNROLL for (int row = 0; row < count; row++) {
            const float x = ((const float *)(rows + (size_t)row * stride))[step];
            UNROLL for (int part = 0; part < parts; part++) sums[row][part] += LOAD(Floats, panel + part * 4 * LANES) * x;
        }
    }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        *(Floats *)(tile + (row * PANEL + part * LANES) * 4) = sums[row][part];
}

INLINE void tile_bfloat16(const char *panel, const char *rows, size_t stride, int steps, int count, int parts, char *tile) {
    Floats sums[ROWS][PANEL / LANES] = {0};
    for (int step = 0; step < steps; step++, panel += 4 * PANEL) {
        FETCH(panel);
        Floats low[PANEL / LANES], high[PANEL / LANES];
        UNROLL for (int part = 0; part < parts; part++) low_high(panel + part * 4 * LANES, &low[part], &high[part]);
        UNROLL for (int row = 0; row < count; row++) {
            const Words both = (Words){0} + ((const uint32_t *)(rows + (size_t)row * stride))[step];
            const Floats first = (Floats)(both << 16), second = (Floats)(both & 0xffff0000);
            UNROLL for (int part = 0; part < parts; part++) {
                sums[row][part] += low[part] * first;
                sums[row][part] += high[part] * second;
            }
        }
    }
    UNROLL for (int row = 0; row < count; row++) UNROLL for (int part = 0; part < parts; part++)
        *(Floats *)(tile + (row * PANEL + part * LANES) * 4) = sums[row][part];
}

#define COMMON(label)                                                                                                    \
    .name = label, .norm = NAME(norm), .soften = NAME(soften),                                                           \
    .finish = {NAME(finish_float), NAME(finish_float), NAME(finish_int8)},                                               \
    .prepare = {NAME(prepare_float32), NAME(prepare_bfloat16), NAME(prepare_int8)},                                      \
    .scores = {NAME(scores_float32), NAME(scores_bfloat16)}, .mix = {NAME(mix_float32), NAME(mix_bfloat16)}
