/*
 * The textbook's bounded buffer in shared memory: shm-sem (two semaphores) and shm-mutex (a robust mutex and two
 * condition variables). As many slots as the ring has; messages are built and read in place, outside the lock.
 */
#include "payload.h"
#include "ring.h"
#include <pthread.h>
#include <semaphore.h>

typedef struct {
    /* shm-sem: messages, free slots. */
    struct {
        _Alignas(128) sem_t sem;
    } tokens[2];
    /* shm-mutex: the counts are read and written under the lock only. */
    _Alignas(128) pthread_mutex_t lock;
    pthread_cond_t news[2]; /* the producer sleeps on the first, the consumer on the second */
    uint64_t counts[2];     /* messages ever sent, messages ever taken */
} Header;

static Shape shape;
static void *regions[2]; /* by direction */

PRIVATE Header *tx, *rx;
PRIVATE uint64_t sent, taken;           /* this side's own counts */
PRIVATE uint64_t taken_seen, sent_seen; /* the other side's, when last seen under the lock */

INLINE unsigned char *place(Header *header, uint64_t count)
{
    return (unsigned char *)header + HEADER + (count & (shape.count - 1)) * shape.stride;
}

static void memory_make(void)
{
    shape = shape_of(size, memory_for(size));
    regions[OUT] = memfd_memory(shape.len);
    regions[BACK] = memfd_memory(shape.len);
}

static void take(int is_follower)
{
    tx = regions[is_follower ? BACK : OUT];
    rx = regions[is_follower ? OUT : BACK];
    touch_pages(regions[OUT], shape.len);
    touch_pages(regions[BACK], shape.len);
}

/* ---- shm-sem. ---------------------------------------------------------------------------------------------------- */

static void sem_make(void)
{
    memory_make();
    for (int way = OUT; way <= BACK; way++) {
        Header *header = regions[way];
        if (sem_init(&header->tokens[0].sem, 1, 0) || sem_init(&header->tokens[1].sem, 1, (unsigned)shape.count))
            die("sem_init");
    }
}

INLINE void take_token(sem_t *sem, int how)
{
    while ((how == BLOCK ? sem_wait(sem) : sem_trywait(sem)) < 0)
        if (how != BLOCK)
            pause_as(how);
}

INLINE void sem_send(int way, uint64_t seq, int how)
{
    take_token(&tx->tokens[1].sem, how);
    fill(way, seq, place(tx, sent++));
    sem_post(&tx->tokens[0].sem);
}

INLINE void sem_recv(int way, uint64_t seq, int how)
{
    take_token(&rx->tokens[0].sem, how);
    check(way, seq, place(rx, taken++));
    sem_post(&rx->tokens[1].sem);
}

LOOPS(sem, BLOCK)
LOOPS(sem, SPIN)
LOOPS(sem, YIELD)

/* ---- shm-mutex. -------------------------------------------------------------------------------------------------- */

static void mutex_make(void)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t cond;
    memory_make();
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_condattr_init(&cond);
    pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
    for (int way = OUT; way <= BACK; way++) {
        Header *header = regions[way];
        if (pthread_mutex_init(&header->lock, &mutex) || pthread_cond_init(&header->news[0], &cond) ||
            pthread_cond_init(&header->news[1], &cond))
            die("pthread_mutex_init");
    }
}

INLINE void must(int code, const char *call)
{
    if (code)
        errno = code, die(call);
}

/* Publishes this side's count and reads the other's, under one lock, and signals outside it. */
INLINE void publish(Header *header, int me, uint64_t count, uint64_t *seen)
{
    must(pthread_mutex_lock(&header->lock), "pthread_mutex_lock");
    header->counts[me] = count;
    *seen = header->counts[!me];
    must(pthread_mutex_unlock(&header->lock), "pthread_mutex_unlock");
    pthread_cond_signal(&header->news[!me]);
}

/* Sleeps until the other side's count is not `count` any more. */
static __attribute__((noinline)) void await(Header *header, int me, uint64_t count, uint64_t *seen)
{
    must(pthread_mutex_lock(&header->lock), "pthread_mutex_lock");
    while ((*seen = header->counts[!me]) == count)
        must(pthread_cond_wait(&header->news[me], &header->lock), "pthread_cond_wait");
    must(pthread_mutex_unlock(&header->lock), "pthread_mutex_unlock");
}

INLINE void mutex_send(int way, uint64_t seq, int how)
{
    (void)how;
    if (sent - taken_seen == shape.count)
        await(tx, 0, sent - shape.count, &taken_seen);
    fill(way, seq, place(tx, sent));
    publish(tx, 0, ++sent, &taken_seen);
}

INLINE void mutex_recv(int way, uint64_t seq, int how)
{
    (void)how;
    if (taken == sent_seen)
        await(rx, 1, taken, &sent_seen);
    check(way, seq, place(rx, taken));
    publish(rx, 1, ++taken, &sent_seen);
}

LOOPS(mutex, BLOCK)

const Mechanism BOUNDED[] = {
    {"shm-sem", sem_make, take, {&sem_BLOCK, &sem_SPIN, &sem_YIELD}, PROCESSES | THREADS},
    {"shm-mutex", mutex_make, take, {&mutex_BLOCK, NULL, NULL}, PROCESSES | THREADS},
    {0},
};
