/* Weights packed into panels, and products with them. */
#include "kernels.h"

#include <math.h>
#include <string.h>

static const int values_of_step[] = {1, 2, 4};

/* AMX reads 64 bytes of a row at a time. */
int padded_inputs(enum precision precision, int inputs) {
    return precision == FLOAT32 ? inputs : rounded(inputs, 16 * values_of_step[precision]);
}

static int steps_of(enum precision precision, int inputs) {
    return padded_inputs(precision, inputs) / values_of_step[precision];
}

static size_t panel_bytes(int steps) { return (size_t)steps * PANEL * 4; }

size_t linear_bytes(enum precision precision, int outputs, int inputs) {
    const size_t padded = (size_t)rounded(outputs, PANEL);
    return padded / PANEL * panel_bytes(steps_of(precision, inputs)) + padded * 12;
}

void linear_place(Linear *linear, enum precision precision, int outputs, int inputs, char *room) {
    const size_t padded = (size_t)rounded(outputs, PANEL);
    linear->outputs = outputs;
    linear->inputs = inputs;
    linear->steps = steps_of(precision, inputs);
    linear->weights = room;
    linear->bias = (float *)(room + padded / PANEL * panel_bytes(linear->steps));
    linear->scales = linear->bias + padded;
    linear->sums = (int32_t *)(linear->scales + padded);
}

typedef struct {
    const Linear *linear;
    enum precision precision;
    const void *weights;
    int half;
    ptrdiff_t by_input, by_output;
    const float *bias;
} Packing;

/* The weights of one input for a panel's outputs, those that there are; the others are 0. */
static void weights_of(const Packing *p, int input, int first, int columns, float *row) {
    const ptrdiff_t at = input * p->by_input + first * p->by_output;
    const float *whole = (const float *)p->weights + at;
    const uint16_t *half = (const uint16_t *)p->weights + at;
    for (int o = 0; o < columns; o++) row[o] = p->half ? from_bfloat16(half[o * p->by_output]) : whole[o * p->by_output];
    for (int o = columns; o < PANEL; o++) row[o] = 0;
}

static void pack_int8(const Packing *p, int first, int columns, int8_t *to) {
    const Linear *linear = p->linear;
    float row[PANEL], most[PANEL] = {0}, odd[PANEL] = {0}, scales[PANEL];
    int32_t sums[PANEL] = {0};
    for (int i = 0; i < linear->inputs; i++) {
        weights_of(p, i, first, columns, row);
        for (int o = 0; o < PANEL; o++) {
            most[o] = fabsf(row[o]) > most[o] ? fabsf(row[o]) : most[o];
            odd[o] += row[o] * 0.0f; /* NaN from the first that is not finite on */
        }
    }
    for (int o = 0; o < PANEL; o++) {
        scales[o] = most[o] > 0 ? most[o] / 127.0f : 1.0f;
        if (odd[o] != 0 || scales[o] == 0) scales[o] = INFINITY; /* not finite, or too small for a scale: integers of 0 */
        linear->scales[first + o] = (scales[o] < INFINITY ? scales[o] : 0) + odd[o];
    }
    for (int i = 0; i < linear->inputs; i++) {
        weights_of(p, i, first, columns, row);
        for (int o = 0; o < PANEL; o++) {
            const float v = row[o] / scales[o];
            const int32_t whole = (int32_t)((v == v ? v : 0) + 12582912.0f - 12582912.0f); /* to the nearest, ties to even */
            to[(i / 4 * PANEL + o) * 4 + i % 4] = (int8_t)whole;
            sums[o] += whole;
        }
    }
    memcpy(linear->sums + first, sums, sizeof sums);
}

static void pack_panel(const Packing *p, int panel) {
    const Linear *linear = p->linear;
    const int first = panel * PANEL, left = linear->outputs - first, columns = left < PANEL ? left : PANEL;
    char *to = (char *)linear->weights + (size_t)panel * panel_bytes(linear->steps);
    if (linear->inputs < linear->steps * values_of_step[p->precision]) memset(to, 0, panel_bytes(linear->steps));
    for (int o = 0; o < PANEL; o++) {
        linear->bias[first + o] = p->bias != NULL && o < columns ? p->bias[first + o] : 0;
        linear->scales[first + o] = 0;
        linear->sums[first + o] = 0;
    }
    if (p->precision == INT8) {
        pack_int8(p, first, columns, (int8_t *)to);
        return;
    }
    for (int i = 0; i < linear->inputs; i++) {
        float row[PANEL];
        weights_of(p, i, first, columns, row);
        if (p->precision == FLOAT32) memcpy((float *)to + i * PANEL, row, sizeof row);
        else
            for (int o = 0; o < PANEL; o++) ((uint16_t *)to)[(i / 2 * PANEL + o) * 2 + i % 2] = to_bfloat16(row[o]);
    }
}

static void pack_shares(void *job, Team *team, int me) {
    (void)me;
    const Packing *p = job;
    for (int panel, stop; (panel = team_share(team, rounded(p->linear->outputs, PANEL) / PANEL, 1, &stop)) >= 0;)
        pack_panel(p, panel);
}

void linear_pack(const Linear *linear, enum precision precision, const void *weights, int half, ptrdiff_t by_input,
                 ptrdiff_t by_output, const float *bias, int threads) {
    Packing job = {linear, precision, weights, half, by_input, by_output, bias};
    team_run(pack_shares, &job, threads);
}

static size_t stride_of(enum precision precision, int inputs) {
    static const size_t size[] = {4, 2, 1};
    return (size_t)rounded(padded_inputs(precision, inputs), 16) * size[precision];
}

size_t input_bytes(enum precision precision, int inputs, int count) {
    return (size_t)rounded(count, 16) * (stride_of(precision, inputs) + 8);
}

void input_place(Input *input, enum precision precision, int inputs, int count, char *room) {
    const size_t padded = (size_t)rounded(count, 16); /* AMX reads 16 rows at a time */
    input->stride = stride_of(precision, inputs);
    input->values = room;
    input->scales = (float *)(room + padded * input->stride);
    input->zeros = (int32_t *)(input->scales + padded);
}

void product(const Path *path, enum precision precision, const Linear *linear, const Input *input, int count,
             enum finish kind, float *out, size_t stride, Team *team) {
    const int panels = rounded(linear->outputs, PANEL) / PANEL;
    const int share = share_of(team, panels);
    float tile[BLOCK * PANEL] __attribute__((aligned(64)));
    for (int panel, stop; (panel = team_share(team, panels, share, &stop)) >= 0;)
        for (; panel < stop; panel++) {
            const char *weights = (const char *)linear->weights + (size_t)panel * panel_bytes(linear->steps);
            const int first = panel * PANEL, left = linear->outputs - first;
            for (int row = 0; row < count; row += BLOCK) {
                const int rows = count - row < BLOCK ? count - row : BLOCK;
                path->multiply[precision](weights, (const char *)input->values + (size_t)row * input->stride, input->stride, rows,
                                          linear->steps, tile);
                path->finish[precision](tile, rows, left < PANEL ? left : PANEL, linear, first, input->scales + row,
                                        input->zeros + row, kind, out + (size_t)row * stride + first, stride);
            }
        }
}
