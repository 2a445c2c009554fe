/*
 * Buffers that change hands between threads: heap-handoff (a ring of pointers, a full buffer for a spent one) and
 * pthread-queue (a bounded buffer with a mutex and two condition variables, likewise). A party writes or reads a buffer of
 * its own, outside ring and lock.
 */
#include "payload.h"
#include "ring.h"
#include <pthread.h>

PRIVATE unsigned char *out, *in; /* a spare buffer each: to write into, to hand back */

static unsigned char *new_buffer(void)
{
    unsigned char *made = malloc(size);
    if (!made)
        die("no memory");
    memset(made, 0xA5, size);
    return made;
}

/* As engine/src/transport/buffers.rs. */
static size_t depth(void)
{
    size_t bytes = wait_how == SPIN && size <= 1024 ? NEAR : memory_for(size), deep = bytes / size;
    return deep < 1024 ? deep : 1024;
}

INLINE void swap(unsigned char **a, unsigned char **b)
{
    unsigned char *was = *a;
    *a = *b;
    *b = was;
}

static void spare_take(void)
{
    out = new_buffer();
    in = new_buffer();
}

/* ---- heap-handoff. ----------------------------------------------------------------------------------------------- */

static void *rings[2]; /* by direction */
static Shape shape;
PRIVATE End tx, rx;

static void handoff_make(void)
{
    shape = (Shape){sizeof(unsigned char *), 1, 0};
    while (shape.count * 2 <= depth())
        shape.count *= 2;
    for (int way = OUT; way <= BACK; way++) {
        rings[way] = heap_memory(HEADER + shape.count * shape.stride);
        unsigned char **places = (unsigned char **)((char *)rings[way] + HEADER);
        for (size_t k = 0; k < shape.count; k++)
            places[k] = new_buffer();
    }
}

static void handoff_take(int is_follower)
{
    tx = end_of(rings[is_follower ? BACK : OUT], shape);
    rx = end_of(rings[is_follower ? OUT : BACK], shape);
    spare_take();
}

INLINE void handoff_send(int way, uint64_t seq, int how)
{
    fill(way, seq, out);
    swap((unsigned char **)ring_reserve(&tx, how), &out);
    ring_commit(&tx, how);
}

INLINE void handoff_recv(int way, uint64_t seq, int how)
{
    swap((unsigned char **)ring_peek(&rx, how), &in);
    ring_release(&rx, how);
    check(way, seq, in);
}

LOOPS(handoff, FUTEX_PRIVATE)
LOOPS(handoff, SPIN)
LOOPS(handoff, YIELD)

/* ---- pthread-queue. ---------------------------------------------------------------------------------------------- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t filled, freed;
    unsigned char **buffers;
    size_t head, len, depth;
} Queue;

static Queue queues[2] = {
    {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER},
    {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER},
};
PRIVATE Queue *to, *from;

static void queue_make(void)
{
    for (int way = OUT; way <= BACK; way++) {
        queues[way].depth = depth();
        queues[way].buffers = malloc(depth() * sizeof(unsigned char *));
        for (size_t k = 0; k < depth(); k++)
            queues[way].buffers[k] = new_buffer();
    }
}

static void queue_take(int is_follower)
{
    to = &queues[is_follower ? BACK : OUT];
    from = &queues[is_follower ? OUT : BACK];
    spare_take();
}

/* Comes back with the lock held as soon as the queue's length is not `len`. Whoever does not sleep lets go of the lock
 * between two looks. */
INLINE void lock_unless(Queue *queue, size_t len, pthread_cond_t *news, int how)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->len == len) {
        if (how == BLOCK) {
            pthread_cond_wait(news, &queue->lock);
        } else {
            pthread_mutex_unlock(&queue->lock);
            pause_as(how);
            pthread_mutex_lock(&queue->lock);
        }
    }
}

INLINE void unlock_and_tell(Queue *queue, pthread_cond_t *news, int how)
{
    pthread_mutex_unlock(&queue->lock);
    if (how == BLOCK)
        pthread_cond_signal(news);
}

INLINE void queue_send(int way, uint64_t seq, int how)
{
    fill(way, seq, out);
    lock_unless(to, to->depth, &to->freed, how);
    size_t place = to->head + to->len;
    swap(&to->buffers[place < to->depth ? place : place - to->depth], &out);
    to->len++;
    unlock_and_tell(to, &to->filled, how);
}

INLINE void queue_recv(int way, uint64_t seq, int how)
{
    lock_unless(from, 0, &from->filled, how);
    swap(&from->buffers[from->head], &in);
    from->head = from->head + 1 == from->depth ? 0 : from->head + 1;
    from->len--;
    unlock_and_tell(from, &from->freed, how);
    check(way, seq, in);
}

LOOPS(queue, BLOCK)
LOOPS(queue, SPIN)
LOOPS(queue, YIELD)

const Mechanism BUFFERS[] = {
    {"heap-handoff", handoff_make, handoff_take, {&handoff_FUTEX_PRIVATE, &handoff_SPIN, &handoff_YIELD}, THREADS},
    {"pthread-queue", queue_make, queue_take, {&queue_BLOCK, &queue_SPIN, &queue_YIELD}, THREADS},
    {0},
};
