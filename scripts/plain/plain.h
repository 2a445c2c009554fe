/*
 * What all files of plain share: sizes, waits, how a mechanism is described, and the four loops of one.
 */
#ifndef PLAIN_H
#define PLAIN_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Direction of a message. */
enum { OUT = 0, BACK = 1 };
/* How a party waits, as on the command line. */
enum { BLOCK, SPIN, YIELD, POLL, EPOLL, WAITS };
/* Which kinds of parties a mechanism connects. */
enum { PROCESSES = 1, THREADS = 2 };

/* What belongs to one party: each process has its own anyway, each thread gets its own. */
#define PRIVATE static _Thread_local

#define INLINE static inline __attribute__((always_inline))

extern size_t size;  /* bytes of a message */
extern size_t touched; /* of them, those that are written and verified */
extern int wait_how; /* BLOCK, SPIN, YIELD, POLL or EPOLL */
extern int threads;  /* the parties are threads */
extern int streams;  /* the workload is stream */

typedef void Loop(uint64_t seq, uint64_t n);

/* The loops of a mechanism that waits in one way. */
typedef struct {
    Loop *lead[2], *follow[2]; /* [0]: ping-pong, [1]: stream */
} Loops;

typedef struct {
    const char *name;
    void (*make)(void);           /* once, before the follower is there */
    void (*take)(int is_follower); /* in each party, before the first message */
    const Loops *loops[WAITS];    /* null: does not wait like that */
    int parties;
} Mechanism;

/* Each ends with an entry without a name. */
extern const Mechanism PIPES[], SOCKETS[], QUEUES[], RINGS[], MAILBOXES[], BOUNDED[], BUFFERS[], FILES[], FETCHED[],
    URINGS[];

/* What a killed run would leave in the system: called before any end; must be safe in a signal handler. */
extern void (*clean_up)(void);

/* Says what failed and why, and ends the process. */
_Noreturn void die(const char *what);
/* Says that message `seq` is wrong, and ends the process. */
_Noreturn void wrong(uint64_t seq);

INLINE void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* what Rust's spin_loop() is there */
#endif
}

static inline uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Zeroed memory that both parties see: a mapping that a fork shares. */
void *shared_memory(size_t len);
/* Page-aligned zeroed memory of the heap. */
void *heap_memory(size_t len);
/* Writes into each page, because each process has a page table of its own. Before the first message. */
void touch_pages(void *at, size_t len);
/* A new file without a name in $TMPDIR or /tmp, opened `count` times. */
void nameless_file(int *fds, int count);
/* Processes: the id of the party at the other end. */
int peer_pid(void);
/* Makes a descriptor non-blocking unless the parties block. */
void set_waiting(int fd);

/* Bytes of buffer for messages of `len` bytes, as in engine/src/transport/config.rs: a megabyte of the kernel's, four of the
 * parties' own, at least four messages up to 16 MiB of them, else two; and little for small messages that take turns. */
#define IN_FLIGHT ((size_t)1 << 20)
#define IN_MEMORY ((size_t)4 << 20)
#define NEAR ((size_t)8 << 10)
#define NEAREST ((size_t)4 << 10)
static inline size_t few_of(size_t len)
{
    return 4 * len <= ((size_t)16 << 20) ? 4 * len : 2 * len;
}
static inline size_t buffer_for(size_t len)
{
    return few_of(len) > IN_FLIGHT ? few_of(len) : IN_FLIGHT;
}
static inline size_t memory_for(size_t len)
{
    if (!streams && 2 * len <= NEAR)
        return 2 * len > NEAREST ? 2 * len : NEAREST;
    return few_of(len) > IN_MEMORY ? few_of(len) : IN_MEMORY;
}

/* The four loops of a mechanism, made from its NAME_send(way, seq, HOW) and NAME_recv(way, seq, HOW), where HOW is a
 * constant: each way to wait is compiled for itself. The result is the table NAME_HOW. */
#define LOOPS(NAME, HOW)                                                                                               \
    static __attribute__((noinline)) void NAME##_##HOW##_ping_pong_lead(uint64_t seq, uint64_t n)                      \
    {                                                                                                                  \
        for (; n; n--, seq++) {                                                                                        \
            NAME##_send(OUT, seq, HOW);                                                                                \
            NAME##_recv(BACK, seq, HOW);                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAME##_##HOW##_ping_pong_follow(uint64_t seq, uint64_t n)                    \
    {                                                                                                                  \
        for (; n; n--, seq++) {                                                                                        \
            NAME##_recv(OUT, seq, HOW);                                                                                \
            NAME##_send(BACK, seq, HOW);                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAME##_##HOW##_stream_lead(uint64_t seq, uint64_t n)                         \
    {                                                                                                                  \
        for (; n; n--, seq++)                                                                                          \
            NAME##_send(OUT, seq, HOW);                                                                                \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAME##_##HOW##_stream_follow(uint64_t seq, uint64_t n)                       \
    {                                                                                                                  \
        for (; n; n--, seq++)                                                                                          \
            NAME##_recv(OUT, seq, HOW);                                                                                \
    }                                                                                                                  \
    static const Loops NAME##_##HOW = {                                                                                \
        {NAME##_##HOW##_ping_pong_lead, NAME##_##HOW##_stream_lead},                                                   \
        {NAME##_##HOW##_ping_pong_follow, NAME##_##HOW##_stream_follow},                                               \
    };

/* Between two looks of a party that does not sleep. */
#include <sched.h>
INLINE void pause_as(int how)
{
    if (how == YIELD)
        sched_yield();
    else
        relax();
}

#endif
