/*
 * A single-producer single-consumer ring whose sides keep a stale copy of the other's index, and the bell on which a
 * side sleeps: it raises a flag and looks once more before it sleeps, and the other side makes a system call only when
 * it sees the flag. The calls and the slots are those of engine/src/shm/ring.rs and engine/src/shm/wait.rs.
 */
#ifndef RING_H
#define RING_H
#include "plain.h"
#include <linux/futex.h>
#include <sys/syscall.h>

/* Ways to sleep, instead of BLOCK. */
enum {
    FUTEX = WAITS,  /* between processes */
    FUTEX_PRIVATE,  /* the same between threads */
    FUTEX_LIMITED,  /* between processes, for at most 5 ms: what a limit costs, where nobody watches the peer */
    EVENT,          /* in an eventfd */
};

typedef struct {
    _Alignas(128) _Atomic uint32_t asleep;
} Bell;

typedef struct {
    _Alignas(128) _Atomic uint64_t tail; /* messages ever committed */
    _Alignas(128) _Atomic uint64_t head; /* messages ever released */
    Bell filled, freed;                  /* the consumer sleeps here, the producer there */
} Indices;

/* What one side of a ring keeps for itself. */
typedef struct {
    Indices *shared;
    unsigned char *slots;
    size_t stride, count;    /* count is a power of two */
    uint64_t mine, seen;     /* this side's index, the other's when last looked at */
    int mine_fd, theirs_fd; /* EVENT: where this side sleeps, and the other one */
} End;

INLINE void futex(_Atomic uint32_t *word, int what, uint32_t value, const struct timespec *limit)
{
    syscall(SYS_futex, word, what, value, limit, NULL, 0);
}

static inline void bell_sleep(Bell *bell, int how, int fd)
{
    static const struct timespec nap = {0, 5000000};
    uint64_t rings;
    if (how == EVENT) {
        if (read(fd, &rings, sizeof rings) < 0 && errno != EINTR)
            die("read");
    } else {
        futex(&bell->asleep, how == FUTEX_PRIVATE ? FUTEX_WAIT_PRIVATE : FUTEX_WAIT, 1,
              how == FUTEX_LIMITED ? &nap : NULL);
    }
}

static __attribute__((noinline, cold, unused)) void bell_wake(Bell *bell, int how, int fd)
{
    static const uint64_t one = 1;
    atomic_store_explicit(&bell->asleep, 0, memory_order_relaxed);
    if (how == EVENT) {
        if (write(fd, &one, sizeof one) < 0)
            die("write");
    } else {
        futex(&bell->asleep, how == FUTEX_PRIVATE ? FUTEX_WAKE_PRIVATE : FUTEX_WAKE, 1, NULL);
    }
}

/* After publishing. The fence pairs with the one in BELL_WAIT: either the sleeper sees what was published, or this side
 * sees its flag. */
INLINE void bell_ring(Bell *bell, int how, int fd)
{
    if (how == SPIN || how == YIELD)
        return;
    atomic_thread_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&bell->asleep, memory_order_relaxed) != 0, 0))
        bell_wake(bell, how, fd);
}

/* Waits until the expression READY holds. */
#define BELL_WAIT(bell, how, fd, READY)                                                                                \
    while (!(READY)) {                                                                                                 \
        if ((how) == SPIN || (how) == YIELD) {                                                                         \
            pause_as(how);                                                                                             \
            continue;                                                                                                  \
        }                                                                                                              \
        atomic_store_explicit(&(bell)->asleep, 1, memory_order_relaxed);                                               \
        atomic_thread_fence(memory_order_seq_cst);                                                                     \
        int found = (READY);                                                                                           \
        if (!found)                                                                                                    \
            bell_sleep(bell, how, fd);                                                                                 \
        atomic_store_explicit(&(bell)->asleep, 0, memory_order_relaxed);                                               \
        if (found)                                                                                                     \
            break;                                                                                                     \
    }

INLINE unsigned char *slot(End *end)
{
    return end->slots + (end->mine & (end->count - 1)) * end->stride;
}

/* The producer's next slot, once it is free. */
INLINE unsigned char *ring_reserve(End *tx, int how)
{
    Indices *ring = tx->shared;
    if (tx->mine - tx->seen >= tx->count)
        BELL_WAIT(&ring->freed, how, tx->mine_fd,
                  tx->mine - (tx->seen = atomic_load_explicit(&ring->head, memory_order_acquire)) < tx->count)
    return slot(tx);
}

INLINE void ring_commit(End *tx, int how)
{
    tx->mine++;
    atomic_store_explicit(&tx->shared->tail, tx->mine, memory_order_release);
    bell_ring(&tx->shared->filled, how, tx->theirs_fd);
}

/* The consumer's next slot, once there is a message. */
INLINE unsigned char *ring_peek(End *rx, int how)
{
    Indices *ring = rx->shared;
    if (rx->mine == rx->seen)
        BELL_WAIT(&ring->filled, how, rx->mine_fd,
                  (rx->seen = atomic_load_explicit(&ring->tail, memory_order_acquire)) != rx->mine)
    return slot(rx);
}

INLINE void ring_release(End *rx, int how)
{
    rx->mine++;
    atomic_store_explicit(&rx->shared->head, rx->mine, memory_order_release);
    bell_ring(&rx->shared->freed, how, rx->theirs_fd);
}

/* ---- Slots, as engine/src/shm/region/ring.rs lays them out: a page for the indices before them. ----------------------- */

enum { HEADER = 4096 };

typedef struct {
    size_t stride, count, len;
} Shape;

static inline Shape shape_of(size_t len, size_t budget)
{
    Shape shape = {8, 2, 0};
    if (len > 32)
        shape.stride = (len + 63) / 64 * 64;
    else
        while (shape.stride < len)
            shape.stride *= 2;
    while (shape.count * 2 <= budget / shape.stride)
        shape.count *= 2;
    shape.len = (HEADER + shape.stride * shape.count + 4095) / 4096 * 4096;
    return shape;
}

static inline End end_of(void *region, Shape shape)
{
    unsigned char *slots = (unsigned char *)region + HEADER;
    return (End){.shared = region, .slots = slots, .stride = shape.stride, .count = shape.count};
}

/* Memory for a ring between processes: a memfd, as shm-ring has it. */
void *memfd_memory(size_t len);

#endif
