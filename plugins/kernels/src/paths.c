/* Which paths this processor has, from the plainest to the best. */
#include "kernels.h"

#include <pthread.h>
#include <string.h>

static Path found[8];
static int count;

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

extern const Multiply multiply_int8_avx2_vnni, multiply_int8_avx512_vnni, multiply_bfloat16_avx512_bf16;
extern const Multiply multiply_bfloat16_amx, multiply_int8_amx;
extern void (*const begin_amx)(void), (*const end_amx)(void);

static int leaf(unsigned number, unsigned sub, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
    return __get_cpuid_count(number, sub, a, b, c, d);
}

/* The states of registers that the operating system keeps: bits 1 and 2 for AVX, 5 to 7 for AVX-512, 17 and 18 for tiles. */
static unsigned kept_states(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Linux lends the tiles to processes that ask for them. */
static int may_use_tiles(void) {
#if defined(__linux__)
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 0;
#endif
}

static Path *add(const Path *base, const char *name) {
    found[count] = *base;
    found[count].name = name;
    return &found[count++];
}

static void find_x86(void) {
    unsigned a, b, c, d, b7 = 0, d7 = 0, a71 = 0;
    if (!leaf(1, 0, &a, &b, &c, &d) || !(c >> 27 & 1) || (kept_states() & 6) != 6) return;
    const int fma = c >> 12 & 1;
    if (leaf(7, 0, &a, &b, &c, &d)) b7 = b, d7 = d;
    const unsigned c7 = c;
    if (leaf(7, 1, &a, &b, &c, &d)) a71 = a;
    if (!fma || !(b7 >> 5 & 1)) return;
    add(&path_avx2, "avx2");
    if (a71 >> 4 & 1) add(&path_avx2, "avx2_vnni")->multiply[INT8] = multiply_int8_avx2_vnni;
    const unsigned needed = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if ((kept_states() & 0xe6) != 0xe6 || (b7 & needed) != needed) return;
    Path *best = add(&path_avx512, "avx512");
    if (!(c7 >> 11 & 1)) return;
    best = add(best, "avx512_vnni");
    best->multiply[INT8] = multiply_int8_avx512_vnni;
    if (!(a71 >> 5 & 1)) return;
    best = add(best, "avx512_bf16");
    best->multiply[BFLOAT16] = multiply_bfloat16_avx512_bf16;
    const unsigned tiles = 1u << 22 | 1u << 24 | 1u << 25; /* bfloat16, tiles, int8 */
    if ((d7 & tiles) != tiles || (kept_states() & 0x60000) != 0x60000 || !may_use_tiles()) return;
    best = add(best, "amx");
    best->multiply[BFLOAT16] = multiply_bfloat16_amx;
    best->multiply[INT8] = multiply_int8_amx;
    best->begin = begin_amx;
    best->end = end_amx;
}
#endif

static void find(void) {
    found[count++] = path_portable;
#if defined(__x86_64__)
    find_x86();
#endif
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

int kernels_paths(void) {
    pthread_once(&once, find);
    return count;
}

const char *kernels_path_name(int number) { return number >= 0 && number < kernels_paths() ? found[number].name : NULL; }

const Path *path_of(int number) { return number >= 0 && number < kernels_paths() ? &found[number] : NULL; }
