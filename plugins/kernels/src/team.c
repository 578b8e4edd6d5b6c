/* The threads that share one call: they are made once, spin for a moment between calls, and then sleep. */
#include "kernels.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { SPINS = 4000 }; /* looks before a thread gives its processor away: some 50 microseconds */

struct Team {
    int size;
    atomic_int arrived, next;
    atomic_uint round;
};

static struct {
    pthread_mutex_t call, lock; /* of the one call that has the threads; of what follows */
    pthread_cond_t work;
    atomic_uint number; /* of the call */
    atomic_int inside;  /* workers that are not done with it */
    int threads;        /* made so far, the caller's own apart */
    unsigned from[MOST_THREADS]; /* the call after which each was made */
    Team team;
    void (*run)(void *, Team *, int);
    void *job;
} all = {.call = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

static inline void pause_briefly(int spin) {
    if (spin > SPINS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *work(void *numbered) {
    const int me = (int)(intptr_t)numbered;
    unsigned seen = all.from[me];
    for (;;) {
        for (int spin = 0; atomic_load(&all.number) == seen && spin < SPINS; spin++) pause_briefly(0);
        pthread_mutex_lock(&all.lock);
        while (atomic_load(&all.number) == seen) pthread_cond_wait(&all.work, &all.lock);
        seen = atomic_load(&all.number);
        const int takes_part = me < all.team.size;
        pthread_mutex_unlock(&all.lock);
        if (!takes_part) continue;
        all.run(all.job, &all.team, me);
        atomic_fetch_sub(&all.inside, 1);
    }
    return NULL;
}

static void forget(void) { /* a fork keeps only the thread that forked */
    pthread_mutex_init(&all.call, NULL);
    pthread_mutex_init(&all.lock, NULL);
    pthread_cond_init(&all.work, NULL);
    all.threads = 0;
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget); }

/* As many threads as can be had, `wanted` at most; the caller's own is one. */
static int gather(int wanted) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    while (all.threads < wanted - 1) {
        const int me = all.threads + 1;
        pthread_t thread;
        all.from[me] = atomic_load(&all.number);
        if (pthread_create(&thread, NULL, work, (void *)(intptr_t)me) != 0) break;
        pthread_detach(thread);
        all.threads++;
    }
    return all.threads + 1 < wanted ? all.threads + 1 : wanted;
}

/* A call that finds the threads taken runs on its caller's thread alone: what is computed does not depend on their number. */
void team_run(void (*run)(void *job, Team *team, int me), void *job, int threads) {
    threads = threads > MOST_THREADS ? MOST_THREADS : threads;
    if (threads < 2 || pthread_mutex_trylock(&all.call) != 0) {
        Team alone = {.size = 1};
        run(job, &alone, 0);
        return;
    }
    threads = gather(threads);
    pthread_mutex_lock(&all.lock);
    all.run = run;
    all.job = job;
    all.team.size = threads;
    atomic_store(&all.team.arrived, 0);
    atomic_store(&all.team.next, 0);
    atomic_store(&all.inside, threads - 1);
    atomic_fetch_add(&all.number, 1);
    pthread_cond_broadcast(&all.work);
    pthread_mutex_unlock(&all.lock);
    run(job, &all.team, 0);
    for (int spin = 0; atomic_load(&all.inside) > 0; spin++) pause_briefly(spin);
    pthread_mutex_unlock(&all.call);
}

void team_meet(Team *team) {
    if (team->size == 1) {
        atomic_store_explicit(&team->next, 0, memory_order_relaxed);
        return;
    }
    const unsigned round = atomic_load(&team->round);
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->size) {
        atomic_store(&team->arrived, 0);
        atomic_store(&team->next, 0);
        atomic_store(&team->round, round + 1);
        return;
    }
    for (int spin = 0; atomic_load(&team->round) == round; spin++) pause_briefly(spin);
}

int team_share(Team *team, int items, int size, int *stop) {
    const int start = atomic_fetch_add(&team->next, size);
    if (start >= items) return -1;
    *stop = start + size < items ? start + size : items;
    return start;
}

int share_of(const Team *team, int items) {
    const int share = items / (team->size * 4);
    return share > 1 ? share : 1;
}
