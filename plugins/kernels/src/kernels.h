/* What the files of this library share. A decode step of a GPT-2 on a CPU: packed weights, a few rows at a time.
 *
 * path_*.c   the same functions for several kinds of processor; `paths.c` knows which of them this one has
 * product.c  weights packed into panels, and products with them
 * network.c  the layers of a network, and its rows of keys and values
 * forward.c  tokens in, logits out
 * team.c     the threads that share one call
 */
#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

enum precision { FLOAT32, BFLOAT16, INT8 };
enum finish { STORE, ADD, GELU };

enum {
    PANEL = 32,   /* outputs whose weights lie together: [steps][32][values of a step], 128 bytes a step */
    BLOCK = 64,   /* rows that a panel is multiplied with before the results are written out */
    LINE = 16,    /* positions whose keys lie together, and the padding of a head's width */
    MOST_THREADS = 64,
};

/* A matrix of `outputs` x `inputs`, packed. values of a step: 1 float32, 2 bfloat16 or 4 int8. */
typedef struct {
    int outputs, inputs, steps;
    void *weights;
    float *bias;     /* padded to whole panels, as all below */
    float *scales;   /* INT8: weight = scale x integer */
    int32_t *sums;   /* INT8: of each output's integers, which the zero point of the activations is taken from */
} Linear;

/* Activations as a product reads them: rows of `stride` bytes. INT8: value = scale x (byte - zero). */
typedef struct {
    void *values;
    size_t stride;
    float *scales;
    int32_t *zeros;
} Input;

typedef void (*Multiply)(const void *panel, const char *rows, size_t stride, int count, int steps, void *tile);

/* What depends on the processor. Lengths are in elements. */
typedef struct {
    const char *name;
    Multiply multiply[3];  /* by precision; tile: count x 32, float or, for INT8, int32 */
    void (*begin)(void);   /* what a thread does before and after it multiplies; may be NULL */
    void (*end)(void);
    void (*finish[3])(const void *tile, int count, int columns, const Linear *linear, int first, const float *scales,
                      const int32_t *zeros, enum finish kind, float *out, size_t stride);
    void (*norm)(const float *x, const float *weight, const float *bias, float epsilon, int width, float *out);
    void (*prepare[3])(const float *x, int width, int padded, void *out, float *scale, int32_t *zero);
    /* scores[i] = query . key i, for whole lines of 16 keys; what lies `ahead` bytes further is fetched for the next call */
    void (*scores[2])(const float *query, const void *keys, int width, int lines, ptrdiff_t ahead, float *scores);
    float (*soften)(float *scores, int count, float scale); /* to exp(scale x (score - greatest)); their sum */
    /* out = sum of weights[i] x value i; width is a multiple of 16 */
    void (*mix[2])(const float *weights, const void *values, int width, int count, ptrdiff_t ahead, float *out);
} Path;

extern const Path path_portable, path_avx2, path_avx512; /* paths.c makes the others of them */
API int kernels_paths(void);                              /* how many this processor has, the plainest first */
API const char *kernels_path_name(int number);
const Path *path_of(int number); /* NULL: there is none */

/* team.c: `run(job, me, of)` by `of` threads; `meet` waits for all, and gives out new shares from there on. */
typedef struct Team Team;
void team_run(void (*run)(void *job, Team *team, int me), void *job, int threads);
void team_meet(Team *team);
int team_share(Team *team, int items, int size, int *stop); /* the start of the next share; -1: no more */
int share_of(const Team *team, int items);                  /* how large a share should be: a quarter of a thread's part */

/* product.c */
int padded_inputs(enum precision precision, int inputs);
size_t linear_bytes(enum precision precision, int outputs, int inputs);
void linear_place(Linear *linear, enum precision precision, int outputs, int inputs, char *room);
/* weights: float32, or bfloat16 if `half`; the weight of input i for output o lies at i x by_input + o x by_output.
 * bias: float32 or NULL. A weight that is not finite makes its output NaN. */
void linear_pack(const Linear *linear, enum precision precision, const void *weights, int half, ptrdiff_t by_input,
                 ptrdiff_t by_output, const float *bias, int threads);
size_t input_bytes(enum precision precision, int inputs, int count);
void input_place(Input *input, enum precision precision, int inputs, int count, char *room);
/* What follows is called by all threads of a team, which meet afterwards. */
void product(const Path *path, enum precision precision, const Linear *linear, const Input *input, int count,
             enum finish kind, float *out, size_t stride, Team *team);

/* network.c */
typedef struct {
    float *weight, *bias;
    float epsilon;
} Norm;

typedef struct {
    Norm norms[2];
    Linear linears[4]; /* to queries, keys and values; from the heads; to the inner width; back */
    float scaling;     /* of the scores */
} Layer;

typedef struct {
    const void *values; /* somebody else's memory, that outlives the network */
    int half;           /* bfloat16 instead of float32 */
} Table;

typedef struct {
    const Path *path;
    enum precision precision;
    int layers, width, inner, heads, vocabulary, context;
    Table tokens, positions;
    Norm norm;
    Linear head;
    char *room;
    size_t bytes;
    Layer layer[];
} Network;

/* One sequence: [layers][heads][keys, values]. Keys lie as `scores` reads them, values as `mix` does. */
typedef struct {
    int length, capacity;
    char *room;
} Row;

int head_width(const Network *network); /* padded */
char *keys_of(const Network *network, const Row *row, int layer, int head);
char *values_of(const Network *network, const Row *row, int layer, int head);
void *aligned(size_t bytes); /* NULL: no memory; `free` frees it */

static inline int rounded(int value, int to) { return (value + to - 1) / to * to; }

static inline float from_bfloat16(uint16_t bits) {
    union {
        uint32_t bits;
        float value;
    } one = {(uint32_t)bits << 16};
    return one.value;
}

static inline uint16_t to_bfloat16(float value) { /* to the nearest, ties to even; NaN stays NaN */
    union {
        float value;
        uint32_t bits;
    } one = {value};
    if ((one.bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(one.bits >> 16 | 0x40);
    return (uint16_t)((one.bits + 0x7fff + (one.bits >> 16 & 1)) >> 16);
}

#endif
