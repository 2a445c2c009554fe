/*
 * One ring in several kinds of memory, messages built and read in place: shm-ring, mmap-file, posix-shm, sysv-shm,
 * heap-ring (between threads), and eventfd (shm-ring whose sides sleep in an eventfd). A ring per direction.
 */
#include "payload.h"
#include "ring.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/shm.h>

PRIVATE End tx, rx;

static Shape shape;
static void *regions[2]; /* by direction */
static int sleepers[2][2]; /* eventfd: by direction, where its producer sleeps and where its consumer does */

INLINE void ring_send(int way, uint64_t seq, int how)
{
    fill(way, seq, ring_reserve(&tx, how));
    ring_commit(&tx, how);
}

INLINE void ring_recv(int way, uint64_t seq, int how)
{
    check(way, seq, ring_peek(&rx, how));
    ring_release(&rx, how);
}

LOOPS(ring, SPIN)
LOOPS(ring, YIELD)
LOOPS(ring, FUTEX)
LOOPS(ring, FUTEX_PRIVATE)
LOOPS(ring, FUTEX_LIMITED)
LOOPS(ring, EVENT)

/* ---- What two CPUs can carry at most: the same slots, of which a half of the ring changes hands at a time, so that the
 * writing of one half and the reading of the other are all that is left. ------------------------------------------- */

static uint64_t batch(const End *end, uint64_t done, uint64_t n)
{
    const uint64_t half = end->count / 2, to_boundary = half - end->mine % half;
    return n - done < to_boundary ? n - done : to_boundary;
}

static __attribute__((noinline)) void halves_lead(uint64_t seq, uint64_t n)
{
    for (uint64_t done = 0, now; done < n; done += now) {
        now = batch(&tx, done, n);
        BELL_WAIT(&tx.shared->freed, SPIN, 0,
                  tx.mine + now - atomic_load_explicit(&tx.shared->head, memory_order_acquire) <= tx.count)
        for (uint64_t k = 0; k < now; k++, tx.mine++)
            fill(OUT, seq + done + k, slot(&tx));
        atomic_store_explicit(&tx.shared->tail, tx.mine, memory_order_release);
    }
}

static __attribute__((noinline)) void halves_follow(uint64_t seq, uint64_t n)
{
    /* Both sides count the same messages, so their batches end at the same slots. */
    for (uint64_t done = 0, now; done < n; done += now) {
        now = batch(&rx, done, n);
        BELL_WAIT(&rx.shared->filled, SPIN, 0,
                  atomic_load_explicit(&rx.shared->tail, memory_order_acquire) - rx.mine >= now)
        for (uint64_t k = 0; k < now; k++, rx.mine++)
            check(OUT, seq + done + k, slot(&rx));
        atomic_store_explicit(&rx.shared->head, rx.mine, memory_order_release);
    }
}

static const Loops halves_SPIN = {
    {ring_SPIN_ping_pong_lead, halves_lead},
    {ring_SPIN_ping_pong_follow, halves_follow},
};

/* ---- The memory. ------------------------------------------------------------------------------------------------- */

static void *map(int fd, size_t len)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        die("mmap");
    close(fd);
    return at;
}

void *memfd_memory(size_t len)
{
    int fd = memfd_create("plain", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)len))
        die("memfd");
    return map(fd, len);
}

static void *file_memory(size_t len)
{
    int fd;
    nameless_file(&fd, 1);
    if ((errno = posix_fallocate(fd, 0, (off_t)len)))
        die("posix_fallocate");
    return map(fd, len);
}

static void *posix_memory(size_t len)
{
    char name[64];
    snprintf(name, sizeof name, "/plain-%d", (int)getpid());
    int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    shm_unlink(name);
    if (fd < 0 || ftruncate(fd, (off_t)len))
        die("shm_open");
    return map(fd, len);
}

/* Marked for removal as soon as it is attached: it lives until the last process detaches it. */
static void *sysv_memory(size_t len)
{
    int id = shmget(IPC_PRIVATE, len, IPC_CREAT | 0600);
    if (id < 0)
        die("shmget");
    void *at = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    if (at == (void *)-1)
        die("shmat");
    return at;
}

static void make(void *(*memory)(size_t))
{
    shape = shape_of(size, memory_for(size));
    regions[OUT] = memory(shape.len);
    regions[BACK] = memory(shape.len);
}

static void memfd_make(void)
{
    make(memfd_memory);
}

static void file_make(void)
{
    make(file_memory);
}

static void posix_make(void)
{
    make(posix_memory);
}

static void sysv_make(void)
{
    make(sysv_memory);
}

static void heap_make(void)
{
    make(heap_memory);
}

static void event_make(void)
{
    make(memfd_memory);
    for (int k = 0; k < 4; k++)
        if ((sleepers[k / 2][k % 2] = eventfd(0, EFD_CLOEXEC)) < 0)
            die("eventfd");
}

static void take(int is_follower)
{
    const int there = is_follower ? BACK : OUT, back = is_follower ? OUT : BACK;
    tx = end_of(regions[there], shape);
    rx = end_of(regions[back], shape);
    tx.mine_fd = sleepers[there][0], tx.theirs_fd = sleepers[there][1];
    rx.mine_fd = sleepers[back][1], rx.theirs_fd = sleepers[back][0];
    touch_pages(regions[OUT], shape.len);
    touch_pages(regions[BACK], shape.len);
}

const Mechanism RINGS[] = {
    {"shm-ring", memfd_make, take, {&ring_FUTEX, &ring_SPIN, &ring_YIELD}, PROCESSES},
    {"shm-ring-limited", memfd_make, take, {&ring_FUTEX_LIMITED, NULL, NULL}, PROCESSES},
    {"shm-halves", memfd_make, take, {NULL, &halves_SPIN, NULL}, PROCESSES},
    {"mmap-file", file_make, take, {&ring_FUTEX, &ring_SPIN, &ring_YIELD}, PROCESSES},
    {"posix-shm", posix_make, take, {&ring_FUTEX, &ring_SPIN, &ring_YIELD}, PROCESSES},
    {"sysv-shm", sysv_make, take, {&ring_FUTEX, &ring_SPIN, &ring_YIELD}, PROCESSES},
    {"heap-ring", heap_make, take, {&ring_FUTEX_PRIVATE, &ring_SPIN, &ring_YIELD}, THREADS},
    {"eventfd", event_make, take, {&ring_EVENT, NULL, NULL}, PROCESSES},
    {0},
};
