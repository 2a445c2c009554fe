/*
 * io-uring and io-uring-sqpoll: the socket pair of unix-stream through the io_uring system calls themselves. Each end
 * has a ring, made by the party that uses it, which is given the socket's descriptor; one operation is under way at a time.
 * Blocking, one io_uring_enter(2) submits an operation and waits for its end.
 */
#include "payload.h"
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { ENTRIES = 2, POLLER_IDLE_MS = 1 };
/* Ways to wait, with a kernel thread that polls for submissions. */
enum { POLLED_BLOCK = WAITS, POLLED_SPIN };

typedef struct {
    int fd, socket;
    _Atomic uint32_t *sq_tail, *sq_flags, *cq_head, *cq_tail;
    uint32_t *sq_array, sq_mask, cq_mask;
    struct io_uring_sqe *entries;
    struct io_uring_cqe *ends;
    unsigned char *message;
} Ring;

static int pair[2], polled;
PRIVATE Ring tx, rx;

static void pair_make(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        die("socketpair");
    for (int end = 0; end < 2; end++) {
        int given = 0, wanted = (int)(2 * size);
        socklen_t len = sizeof given;
        getsockopt(pair[end], SOL_SOCKET, SO_SNDBUF, &given, &len);
        if ((size_t)given < 2 * size && setsockopt(pair[end], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted))
            die("setsockopt");
    }
}

/* A spin takes two CPUs more, for the threads that poll; with fewer the four take time slices from each other. */
static void polled_make(void)
{
    if (wait_how == SPIN && sysconf(_SC_NPROCESSORS_ONLN) < 4)
        errno = 0, die("two parties that spin and two threads that poll need four CPUs");
    polled = 1;
    pair_make();
}

static void *map_ring(int fd, size_t len, off_t what)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
    if (at == MAP_FAILED)
        die("cannot map a ring");
    return at;
}

/* A ring over `socket`. Both rings of a party share the thread that polls, if there is one: `with` is the other. */
static Ring ring_over(int socket, int with)
{
    struct io_uring_params p = {0};
    if (polled) {
        p.flags = IORING_SETUP_SQPOLL | (with >= 0 ? IORING_SETUP_ATTACH_WQ : 0u);
        p.sq_thread_idle = POLLER_IDLE_MS;
        p.wq_fd = with >= 0 ? (uint32_t)with : 0;
    }
    Ring ring = {.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p), .socket = socket};
    if (ring.fd < 0)
        die("cannot make an io_uring");
    char *sq = map_ring(ring.fd, p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
    char *cq = map_ring(ring.fd, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.sq_tail = (void *)(sq + p.sq_off.tail);
    ring.sq_flags = (void *)(sq + p.sq_off.flags);
    ring.sq_array = (void *)(sq + p.sq_off.array);
    ring.sq_mask = *(uint32_t *)(sq + p.sq_off.ring_mask);
    ring.cq_head = (void *)(cq + p.cq_off.head);
    ring.cq_tail = (void *)(cq + p.cq_off.tail);
    ring.cq_mask = *(uint32_t *)(cq + p.cq_off.ring_mask);
    ring.ends = (void *)(cq + p.cq_off.cqes);
    ring.entries = map_ring(ring.fd, p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring.message = heap_memory(size);
    return ring;
}

static void take(int is_follower)
{
    tx = ring_over(pair[is_follower], -1);
    rx = ring_over(pair[is_follower], tx.fd);
}

/* Hands `count` entries over and sleeps for so many ends. A poller that is awake needs no call to take an entry. */
INLINE void enter(Ring *ring, uint32_t count, uint32_t ends, int how)
{
    uint32_t flags = ends ? IORING_ENTER_GETEVENTS : 0;
    if (how == POLLED_BLOCK || how == POLLED_SPIN) {
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(ring->sq_flags, memory_order_acquire) & IORING_SQ_NEED_WAKEUP)
            flags |= IORING_ENTER_SQ_WAKEUP;
        else if (!ends)
            return;
    }
    if (syscall(SYS_io_uring_enter, ring->fd, count, ends, flags, NULL, 0) < 0 && errno != EINTR)
        die("io_uring_enter");
}

/* Submits one operation on the `len` bytes at `at` and waits for its end; the bytes that it moved. */
INLINE size_t carry_out(Ring *ring, int what, unsigned char *at, size_t len, int how)
{
    uint32_t tail = atomic_load_explicit(ring->sq_tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
    const int sleeps = how == BLOCK || how == POLLED_BLOCK;
    ring->entries[tail & ring->sq_mask] = (struct io_uring_sqe){
        .opcode = (uint8_t)what,
        .fd = ring->socket,
        .addr = (uintptr_t)at,
        .len = (uint32_t)len,
        .msg_flags = MSG_WAITALL,
    };
    ring->sq_array[tail & ring->sq_mask] = tail & ring->sq_mask;
    atomic_store_explicit(ring->sq_tail, tail + 1, memory_order_release);
    uint32_t count = 1;
    if (!sleeps)
        enter(ring, count, 0, how);
    do {
        if (sleeps)
            enter(ring, count, 1, how), count = 0;
        else
            pause_as(how);
    } while (atomic_load_explicit(ring->cq_tail, memory_order_acquire) == head);
    int moved = ring->ends[head & ring->cq_mask].res;
    atomic_store_explicit(ring->cq_head, head + 1, memory_order_release);
    if (moved <= 0)
        errno = -moved, die("an operation failed, or the peer left");
    return (size_t)moved;
}

INLINE void uring_send(int way, uint64_t seq, int how)
{
    fill(way, seq, tx.message);
    for (size_t sent = 0; sent < size;)
        sent += carry_out(&tx, IORING_OP_SEND, tx.message + sent, size - sent, how);
}

INLINE void uring_recv(int way, uint64_t seq, int how)
{
    for (size_t filled = 0; filled < size;)
        filled += carry_out(&rx, IORING_OP_RECV, rx.message + filled, size - filled, how);
    check(way, seq, rx.message);
}

LOOPS(uring, BLOCK)
LOOPS(uring, SPIN)
LOOPS(uring, YIELD)
LOOPS(uring, POLLED_BLOCK)
LOOPS(uring, POLLED_SPIN)

const Mechanism URINGS[] = {
    {"io-uring", pair_make, take, {&uring_BLOCK, &uring_SPIN, &uring_YIELD}, PROCESSES | THREADS},
    {"io-uring-sqpoll", polled_make, take, {&uring_POLLED_BLOCK, &uring_POLLED_SPIN, NULL}, PROCESSES | THREADS},
    {0},
};
