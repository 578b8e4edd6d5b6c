/* The layers of a network, its rows of keys and values, and single matrices. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

void *aligned(size_t bytes) {
    void *found = NULL;
    return posix_memalign(&found, 64, bytes) == 0 ? found : NULL;
}

/* In large pages where the system has some: weights are read from end to end, by a tenth faster so. */
static void *in_large_pages(size_t bytes) {
    const size_t page = (size_t)1 << 21;
    if (bytes < page) return aligned(bytes);
    void *found = NULL;
    bytes = (bytes + page - 1) / page * page;
    if (posix_memalign(&found, page, bytes) != 0) return NULL;
#if defined(__linux__)
    madvise(found, bytes, MADV_HUGEPAGE);
#endif
    return found;
}

static size_t line(size_t bytes) { return (bytes + 63) / 64 * 64; }

static char *take(char **room, size_t bytes) {
    char *found = *room;
    *room += line(bytes);
    return found;
}

static void shape_of(const Network *n, int which, int *outputs, int *inputs) {
    const int shapes[5][2] = {{3 * n->width, n->width}, {n->width, n->width}, {n->inner, n->width}, {n->width, n->inner}, {n->vocabulary, n->width}};
    *outputs = shapes[which][0];
    *inputs = shapes[which][1];
}

static size_t bytes_of(const Network *n, int which) {
    int outputs, inputs;
    shape_of(n, which, &outputs, &inputs);
    return line(linear_bytes(n->precision, outputs, inputs));
}

static void place(const Network *n, int which, Linear *linear, char **room) {
    int outputs, inputs;
    shape_of(n, which, &outputs, &inputs);
    linear_place(linear, n->precision, outputs, inputs, take(room, bytes_of(n, which)));
}

static void place_norm(const Network *n, Norm *norm, char **room) {
    norm->weight = (float *)take(room, (size_t)n->width * 4);
    norm->bias = (float *)take(room, (size_t)n->width * 4);
}

/* A network without weights; NULL: no memory, or no such path. */
API Network *kernels_network(int path, int precision, int layers, int width, int inner, int heads, int vocabulary, int context) {
    if (path_of(path) == NULL) return NULL;
    Network *n = calloc(1, sizeof(Network) + (size_t)layers * sizeof(Layer));
    if (n == NULL) return NULL;
    *n = (Network){path_of(path), precision, layers, width, inner, heads, vocabulary, context, {0}, {0}, {0}, {0}, NULL, 0};
    size_t bytes = bytes_of(n, 4) + 2 * line((size_t)width * 4), layer = 4 * line((size_t)width * 4);
    for (int which = 0; which < 4; which++) layer += bytes_of(n, which);
    n->bytes = bytes + layer * (size_t)layers;
    if ((n->room = in_large_pages(n->bytes)) == NULL) {
        free(n);
        return NULL;
    }
    char *room = n->room;
    for (int i = 0; i < layers; i++) {
        for (int which = 0; which < 4; which++) place(n, which, &n->layer[i].linears[which], &room);
        for (int which = 0; which < 2; which++) place_norm(n, &n->layer[i].norms[which], &room);
    }
    place_norm(n, &n->norm, &room);
    place(n, 4, &n->head, &room);
    return n;
}

API void kernels_free_network(Network *n) {
    free(n->room);
    free(n);
}

API size_t kernels_network_bytes(const Network *n) { return n->bytes; }

/* layer: -1 for the head. */
API void kernels_pack(Network *n, int layer, int which, const void *weights, int half, ptrdiff_t by_input, ptrdiff_t by_output,
                      const float *bias, int threads) {
    linear_pack(layer < 0 ? &n->head : &n->layer[layer].linears[which], n->precision, weights, half, by_input, by_output, bias, threads);
}

API void kernels_norm(Network *n, int layer, int which, const float *weight, const float *bias, float epsilon) {
    Norm *norm = layer < 0 ? &n->norm : &n->layer[layer].norms[which];
    memcpy(norm->weight, weight, sizeof(float) * (size_t)n->width);
    memcpy(norm->bias, bias, sizeof(float) * (size_t)n->width);
    norm->epsilon = epsilon;
}

API void kernels_scaling(Network *n, int layer, float scaling) { n->layer[layer].scaling = scaling; }

API void kernels_tables(Network *n, const void *tokens, int half_tokens, const void *positions, int half_positions) {
    n->tokens = (Table){tokens, half_tokens};
    n->positions = (Table){positions, half_positions};
}

int head_width(const Network *n) { return rounded(n->width / n->heads, LINE); }

static size_t half_bytes(const Network *n, const Row *row) { /* of one head's keys, or values */
    return (size_t)row->capacity * (size_t)head_width(n) * (n->precision == FLOAT32 ? 4 : 2);
}

char *keys_of(const Network *n, const Row *row, int layer, int head) {
    return row->room + ((size_t)layer * (size_t)n->heads + (size_t)head) * 2 * half_bytes(n, row);
}

char *values_of(const Network *n, const Row *row, int layer, int head) { return keys_of(n, row, layer, head) + half_bytes(n, row); }

API size_t kernels_row_bytes(const Network *n, int capacity) {
    const Row row = {0, capacity, NULL};
    return 2 * half_bytes(n, &row) * (size_t)n->heads * (size_t)n->layers;
}

API Row *kernels_row(const Network *n, int capacity) {
    Row *row = malloc(sizeof(Row));
    if (row == NULL) return NULL;
    *row = (Row){0, rounded(capacity, LINE), NULL};
    if ((row->room = aligned(kernels_row_bytes(n, row->capacity))) == NULL) {
        free(row);
        return NULL;
    }
    return row;
}

API void kernels_free_row(Row *row) {
    free(row->room);
    free(row);
}

/* `copy`, which has the capacity for it, becomes as `row` is. */
API void kernels_fork(const Network *n, Row *copy, const Row *row) {
    copy->length = row->length;
    const size_t used = (size_t)rounded(row->length, LINE) * (size_t)head_width(n) * (n->precision == FLOAT32 ? 4 : 2);
    for (int layer = 0; layer < n->layers; layer++)
        for (int head = 0; head < n->heads; head++) {
            memcpy(keys_of(n, copy, layer, head), keys_of(n, row, layer, head), used);
            memcpy(values_of(n, copy, layer, head), values_of(n, row, layer, head), used);
        }
}

API void kernels_shorten(Row *row, int length) { row->length = length; }

/* A single matrix, for what has no network. */
API Linear *kernels_linear(int precision, int outputs, int inputs, const void *weights, int half, ptrdiff_t by_input,
                           ptrdiff_t by_output, const float *bias, int threads) {
    Linear *linear = malloc(sizeof(Linear));
    char *room = linear == NULL ? NULL : in_large_pages(linear_bytes(precision, outputs, inputs));
    if (room == NULL) {
        free(linear);
        return NULL;
    }
    linear_place(linear, precision, outputs, inputs, room);
    linear_pack(linear, precision, weights, half, by_input, by_output, bias, threads);
    return linear;
}

API void kernels_free_linear(Linear *linear) {
    free(linear->weights);
    free(linear);
}
