/*
 * file: a regular file as a bounded ring, messages by pwrite(2) and pread(2). Three files per direction: the payload, the
 * producer's index and the consumer's. A side that sleeps does so in poll(2) over inotify(7) events of the other's
 * index file, for at most 5 ms as ipcost does, and then reads them away.
 */
#include "payload.h"
#include <poll.h>
#include <sys/inotify.h>

typedef struct {
    int data, mine, theirs, watch;
    uint64_t count, seen; /* messages that this side is done with; the other side's count when last looked at */
} Side;

/* By direction: payload, producer's index, consumer's index, each opened by both sides for itself. */
static int fds[2][3][2];
static uint64_t slots;

PRIVATE Side tx, rx;
PRIVATE unsigned char *out, *in;

static void put(int fd, const void *from, size_t len, uint64_t at)
{
    if (pwrite(fd, from, len, (off_t)at) != (ssize_t)len)
        die("pwrite");
}

static void file_make(void)
{
    unsigned char *zeroes = heap_memory(size);
    slots = buffer_for(size) / size;
    for (int way = OUT; way <= BACK; way++) {
        for (int k = 0; k < 3; k++)
            nameless_file(fds[way][k], 2);
        for (uint64_t k = 0; k < slots; k++)
            put(fds[way][0][0], zeroes, size, k * size);
        put(fds[way][1][0], &(uint64_t[8]){0}, 64, 0);
        put(fds[way][2][0], &(uint64_t[8]){0}, 64, 0);
    }
    free(zeroes);
}

static Side side(int way, int consumer)
{
    Side made = {.data = fds[way][0][consumer], .mine = fds[way][1 + consumer][consumer],
                 .theirs = fds[way][2 - consumer][consumer]};
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", made.theirs);
    if (wait_how == BLOCK && ((made.watch = inotify_init1(IN_CLOEXEC)) < 0 ||
                              inotify_add_watch(made.watch, path, IN_MODIFY) < 0))
        die("inotify");
    return made;
}

static void file_take(int is_follower)
{
    tx = side(is_follower ? BACK : OUT, 0);
    rx = side(is_follower ? OUT : BACK, 1);
    out = heap_memory(size);
    in = heap_memory(size);
}

static void sleep_until_written(int watch)
{
    static const struct timespec nap = {0, 5000000};
    struct pollfd polled = {watch, POLLIN, 0};
    char events[1024];
    int ready = ppoll(&polled, 1, &nap, NULL);
    if (ready > 0 && read(watch, events, sizeof events) < 0)
        die("read");
}

/* Waits until the other side's count is not `count` any more. */
INLINE void await(Side *side, uint64_t count, int how)
{
    for (;;) {
        /* The count and, behind it, whether the owner left: ipcost reads both in one call. */
        uint64_t words[2];
        if (pread(side->theirs, words, sizeof words, 0) != sizeof words)
            die("pread");
        side->seen = words[0];
        if (side->seen != count)
            break;
        if (how == BLOCK)
            sleep_until_written(side->watch);
        else
            pause_as(how);
    }
    atomic_thread_fence(memory_order_acquire);
}

/* Payload before index, also on machines whose stores are not ordered. */
INLINE void advance(Side *side)
{
    side->count++;
    atomic_thread_fence(memory_order_release);
    put(side->mine, &side->count, 8, 0);
}

INLINE void file_send(int way, uint64_t seq, int how)
{
    if (tx.count - tx.seen >= slots)
        await(&tx, tx.count - slots, how);
    fill(way, seq, out);
    put(tx.data, out, size, tx.count % slots * size);
    advance(&tx);
}

INLINE void file_recv(int way, uint64_t seq, int how)
{
    if (rx.count == rx.seen)
        await(&rx, rx.count, how);
    if (pread(rx.data, in, size, (off_t)(rx.count % slots * size)) != (ssize_t)size)
        die("pread");
    check(way, seq, in);
    advance(&rx);
}

LOOPS(file, BLOCK)
LOOPS(file, SPIN)
LOOPS(file, YIELD)

const Mechanism FILES[] = {
    {"file", file_make, file_take, {&file_BLOCK, &file_SPIN, &file_YIELD}, PROCESSES | THREADS},
    {0},
};
