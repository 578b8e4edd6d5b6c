/* Tokens in, logits out: all threads of a team go through the layers together, and meet after every part of one. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum { CHUNK = 512 }; /* tokens that go through the layers at a time: more are not faster, and take more room */

typedef struct {
    Row *row;
    int first, count; /* tokens of the chunk that are the row's, behind `row->length` others */
} Segment;

typedef struct {
    const Network *network;
    int segments, tokens, wanted;
    const Segment *segment;
    const int64_t *token;
    const int *want; /* places in the chunk of the tokens after which logits are asked for */
    float *logits;
    float *x, *qkv, *mixed, *inner; /* tokens x their width, padded to whole panels */
    Input input;                    /* placed anew for each product */
    char *input_room;
    float *own; /* of each thread: scores, and a row */
    size_t own_floats, width, qkv_width, inner_width;
} Job;

/* Numbers below 1e-38 are taken as 0 for the time of a call: x86 takes a hundred times longer over them. */
static unsigned flush_denormals(void) {
#if defined(__x86_64__)
    const unsigned modes = _mm_getcsr();
    _mm_setcsr(modes | 0x8040);
    return modes;
#else
    return 0;
#endif
}

static void restore(unsigned modes) {
#if defined(__x86_64__)
    _mm_setcsr(modes);
#else
    (void)modes;
#endif
}

static float table_at(Table table, size_t at) {
    return table.half ? from_bfloat16(((const uint16_t *)table.values)[at]) : ((const float *)table.values)[at];
}

static void embed(const Job *job, int segment) {
    const Network *n = job->network;
    const Segment *s = &job->segment[segment];
    for (int i = 0; i < s->count; i++) {
        float *x = job->x + (size_t)(s->first + i) * job->width;
        const size_t token = (size_t)job->token[s->first + i] * (size_t)n->width;
        const size_t position = (size_t)(s->row->length + i) * (size_t)n->width;
        for (int j = 0; j < n->width; j++) x[j] = table_at(n->tokens, token + (size_t)j) + table_at(n->positions, position + (size_t)j);
        for (size_t j = (size_t)n->width; j < job->width; j++) x[j] = 0;
    }
}

/* `count` rows made ready for a product; normed first, unless `norm` is NULL. */
static void ready(Job *job, Team *team, float *own, const Norm *norm, const float *from, size_t stride, int width, int count) {
    const Network *n = job->network;
    const int padded = padded_inputs(n->precision, width);
    const int share = share_of(team, count);
    Input input;
    input_place(&input, n->precision, width, count, job->input_room);
    for (int row, stop; (row = team_share(team, count, share, &stop)) >= 0;)
        for (; row < stop; row++) {
            const float *x = from + (size_t)row * stride;
            if (norm != NULL) {
                n->path->norm(x, norm->weight, norm->bias, norm->epsilon, width, own);
                x = own;
            }
            n->path->prepare[n->precision](x, width, padded, (char *)input.values + (size_t)row * input.stride, input.scales + row, input.zeros + row);
        }
    team_meet(team);
}

static void multiply(Job *job, Team *team, const Linear *linear, int count, enum finish kind, float *out, size_t stride) {
    const Network *n = job->network;
    Input input;
    input_place(&input, n->precision, linear->inputs, count, job->input_room);
    product(n->path, n->precision, linear, &input, count, kind, out, stride, team);
    team_meet(team);
}

/* A key and a value; the rest of a new line of keys is 0, which is read along, and must be no NaN or denormal. */
static void keep(const Network *n, const float *key, const float *value, char *keys, char *values, int position) {
    const int real = n->width / n->heads, width = head_width(n), line = position / LINE * LINE * width, place = position % LINE;
    const size_t size = n->precision == FLOAT32 ? 4 : 2;
    if (place == 0) memset(keys + (size_t)line * size, 0, (size_t)(LINE * width) * size);
    memset(values + (size_t)(position * width + real) * size, 0, (size_t)(width - real) * size);
    if (n->precision == FLOAT32) {
        float *to = (float *)keys + line + place;
        for (int i = 0; i < real; i++) to[i * LINE] = key[i];
        memcpy((float *)values + position * width, value, sizeof(float) * (size_t)real);
    } else {
        uint16_t *to = (uint16_t *)keys + line + place * 2, *v = (uint16_t *)values + position * width;
        for (int i = 0; i < real; i++) to[i / 2 * 2 * LINE + i % 2] = to_bfloat16(key[i]);
        for (int i = 0; i < real; i++) v[i] = to_bfloat16(value[i]);
    }
}

/* One head of one row: its new keys and values are kept, then each new token attends to all up to itself. */
static void attend(const Job *job, int layer, int item, int last, float *scores) {
    const Network *n = job->network;
    const Segment *s = &job->segment[item / n->heads];
    const int head = item % n->heads, next = item < last ? item + 1 : item;
    const int real = n->width / n->heads, width = head_width(n), half = n->precision != FLOAT32;
    char *keys = keys_of(n, s->row, layer, head), *values = values_of(n, s->row, layer, head);
    const ptrdiff_t ahead = keys_of(n, job->segment[next / n->heads].row, layer, next % n->heads) - keys;
    const float *query = job->qkv + (size_t)s->first * job->qkv_width + (size_t)(head * real);
    for (int i = 0; i < s->count; i++) {
        const float *key = query + (size_t)i * job->qkv_width + n->width;
        keep(n, key, key + n->width, keys, values, s->row->length + i);
    }
    float *padded = scores + rounded(s->row->length + s->count, LINE), *found = padded + width;
    memset(padded, 0, sizeof(float) * (size_t)width);
    for (int i = 0; i < s->count; i++, query += job->qkv_width) {
        const int count = s->row->length + i + 1;
        memcpy(padded, query, sizeof(float) * (size_t)real);
        n->path->scores[half](padded, keys, width, rounded(count, LINE) / LINE, ahead, scores);
        const float share = 1.0f / n->path->soften(scores, count, n->layer[layer].scaling);
        n->path->mix[half](scores, values, width, count, ahead, found);
        float *to = job->mixed + (size_t)(s->first + i) * job->width + (size_t)(head * real);
        for (int j = 0; j < real; j++) to[j] = found[j] * share;
    }
}

/* The rows of the tokens whose logits are asked for, moved to the front: the others are done with. */
static void move_wanted(const Job *job) {
    for (int i = 0; i < job->wanted; i++) {
        memmove(job->x + (size_t)i * job->width, job->x + (size_t)job->want[i] * job->width, job->width * sizeof(float));
        memmove(job->mixed + (size_t)i * job->width, job->mixed + (size_t)job->want[i] * job->width, job->width * sizeof(float));
    }
}

static void forward(void *given, Team *team, int me) {
    Job *job = given;
    const Network *n = job->network;
    float *own = job->own + (size_t)me * job->own_floats;
    int count = job->tokens;
    const unsigned modes = flush_denormals();
    if (n->path->begin != NULL) n->path->begin();
    for (int segment, stop; (segment = team_share(team, job->segments, 1, &stop)) >= 0;) embed(job, segment);
    team_meet(team);
    for (int i = 0; i < n->layers; i++) {
        const Layer *layer = &n->layer[i];
        ready(job, team, own, &layer->norms[0], job->x, job->width, n->width, count);
        multiply(job, team, &layer->linears[0], count, STORE, job->qkv, job->qkv_width);
        const int items = job->segments * n->heads, share = share_of(team, items);
        for (int item, stop; (item = team_share(team, items, share, &stop)) >= 0;)
            for (; item < stop; item++) attend(job, i, item, stop - 1, own);
        team_meet(team);
        if (i == n->layers - 1 && job->wanted < count) {
            count = job->wanted;
            if (count == 0) break; /* every thread does: it is the chunk's */
            if (me == 0) move_wanted(job);
            team_meet(team);
        }
        ready(job, team, own, NULL, job->mixed, job->width, n->width, count);
        multiply(job, team, &layer->linears[1], count, ADD, job->x, job->width);
        ready(job, team, own, &layer->norms[1], job->x, job->width, n->width, count);
        multiply(job, team, &layer->linears[2], count, GELU, job->inner, job->inner_width);
        ready(job, team, own, NULL, job->inner, job->inner_width, n->inner, count);
        multiply(job, team, &layer->linears[3], count, ADD, job->x, job->width);
    }
    if (count > 0) {
        ready(job, team, own, &n->norm, job->x, job->width, n->width, count);
        multiply(job, team, &n->head, count, STORE, job->logits, (size_t)n->vocabulary);
    }
    if (n->path->end != NULL) n->path->end();
    restore(modes);
}

/* Room for a chunk, in one piece. */
static char *place_job(Job *job, int tokens, int longest, int threads) {
    const Network *n = job->network;
    job->width = (size_t)rounded(n->width, PANEL);
    job->qkv_width = (size_t)rounded(3 * n->width, PANEL);
    job->inner_width = (size_t)rounded(n->inner, PANEL);
    job->own_floats = (size_t)rounded(rounded(longest, LINE) + 2 * head_width(n) + n->width, 16);
    const size_t each[] = {job->width, job->qkv_width, job->width, job->inner_width};
    const size_t input = input_bytes(n->precision, n->inner > n->width ? n->inner : n->width, tokens);
    size_t floats = job->own_floats * (size_t)threads;
    for (int i = 0; i < 4; i++) floats += each[i] * (size_t)tokens;
    char *room = aligned(floats * 4 + input);
    if (room == NULL) return NULL;
    job->x = (float *)room;
    job->qkv = job->x + each[0] * (size_t)tokens;
    job->mixed = job->qkv + each[1] * (size_t)tokens;
    job->inner = job->mixed + each[2] * (size_t)tokens;
    job->own = job->inner + each[3] * (size_t)tokens;
    job->input_room = (char *)(job->own + job->own_floats * (size_t)threads);
    memset(job->mixed, 0, each[2] * (size_t)tokens * 4); /* its padding is read */
    return room;
}

enum { ALL_DONE, NO_MEMORY, NO_ROOM, NO_TOKEN };

/* Append counts[i] tokens to rows[i]. Logits after the last token of each row, or after `every` one: as many x vocabulary.
 * On any answer but ALL_DONE no row has grown. */
API int kernels_forward(const Network *n, int rows, Row **row, const int *counts, const int64_t *tokens, int every, float *logits, int threads) {
    int total = 0, longest = 0;
    for (int i = 0; i < rows; i++) {
        const int length = row[i]->length + counts[i];
        if (counts[i] < 0 || length > row[i]->capacity || length > n->context) return NO_ROOM;
        longest = length > longest ? length : longest;
        total += counts[i];
    }
    for (int i = 0; i < total; i++)
        if (tokens[i] < 0 || tokens[i] >= n->vocabulary) return NO_TOKEN;
    if (total == 0) return ALL_DONE;
    threads = threads < 1 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads;
    const int chunk = total < CHUNK ? total : CHUNK;
    Job job = {.network = n, .token = tokens, .logits = logits};
    char *room = place_job(&job, chunk, longest, threads);
    Segment *segments = malloc(sizeof(Segment) * (size_t)rows);
    int *want = malloc(sizeof(int) * (size_t)chunk), *before = malloc(sizeof(int) * (size_t)rows);
    const int ready = room != NULL && segments != NULL && want != NULL && before != NULL;
    for (int i = 0; ready && i < rows; i++) before[i] = row[i]->length;
    for (int i = 0, done = 0; ready && i < rows;) { /* done: tokens of row i that have been read */
        job.segment = segments, job.want = want;
        job.segments = job.tokens = job.wanted = 0;
        while (i < rows && job.tokens < chunk) {
            const int left = counts[i] - done, fits = chunk - job.tokens, some = left < fits ? left : fits;
            if (some > 0) segments[job.segments++] = (Segment){row[i], job.tokens, some};
            for (int j = 0; j < some; j++)
                if (every || done + j == counts[i] - 1) want[job.wanted++] = job.tokens + j;
            job.tokens += some;
            done += some;
            if (done == counts[i]) i++, done = 0;
        }
        if (job.tokens > 0) team_run(forward, &job, threads);
        for (int s = 0; s < job.segments; s++) segments[s].row->length += segments[s].count;
        job.token += job.tokens;
        job.logits += (size_t)job.wanted * (size_t)n->vocabulary;
    }
    free(room), free(segments), free(want), free(before);
    return ready ? ALL_DONE : NO_MEMORY;
}

/* The rows of `x`, float32, times a single matrix. */
typedef struct {
    const Path *path;
    int precision, count;
    const Linear *linear;
    const float *x;
    Input input;
    float *out;
} Single;

static void single(void *given, Team *team, int me) {
    (void)me;
    Single *job = given;
    const Linear *linear = job->linear;
    if (job->path->begin != NULL) job->path->begin();
    for (int row, stop; (row = team_share(team, job->count, 1, &stop)) >= 0;)
        job->path->prepare[job->precision](job->x + (size_t)row * (size_t)linear->inputs, linear->inputs, padded_inputs(job->precision, linear->inputs),
                                           (char *)job->input.values + (size_t)row * job->input.stride, job->input.scales + row, job->input.zeros + row);
    team_meet(team);
    product(job->path, job->precision, linear, &job->input, job->count, STORE, job->out, (size_t)linear->outputs, team);
    if (job->path->end != NULL) job->path->end();
}

API int kernels_product(int path, int precision, const Linear *linear, const float *x, int count, float *out, int threads) {
    Single job = {path_of(path), precision, count, linear, x, {0}, out};
    char *room = aligned(input_bytes(precision, linear->inputs, count));
    if (room == NULL || job.path == NULL) {
        free(room);
        return NO_MEMORY;
    }
    input_place(&job.input, precision, linear->inputs, count, room);
    team_run(single, &job, threads);
    free(room);
    return ALL_DONE;
}
