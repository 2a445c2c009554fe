/*
 * Pipes: pipe and fifo (write and read), vmsplice (pages in by reference, read), vmsplice-splice (pages in by
 * reference, spliced out into a mapped memfd). Two pipes, one per direction.
 */
#include "payload.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

INLINE ssize_t put(int fd, const void *from, size_t len)
{
    return write(fd, from, len);
}

INLINE ssize_t get(int fd, void *to, size_t len)
{
    return read(fd, to, len);
}

#include "bytes.h"

static int pipes[2][2]; /* by direction: reading end, writing end */

/* ---- Making them. ------------------------------------------------------------------------------------------------ */

/* `wanted` bytes, at least the default 64 KiB, at most what an unprivileged user may have. Refused over the user's soft
 * limit: the default stays. Returns what there is. */
static size_t size_pipe(int fd, size_t wanted)
{
    unsigned long largest = 1 << 20;
    FILE *limit = fopen("/proc/sys/fs/pipe-max-size", "r");
    if (limit) {
        if (fscanf(limit, "%lu", &largest) != 1)
            largest = 1 << 20;
        fclose(limit);
    }
    if (wanted < 65536)
        wanted = 65536;
    if (wanted > largest)
        wanted = largest;
    (void)fcntl(fd, F_SETPIPE_SZ, (int)wanted);
    return (size_t)fcntl(fd, F_GETPIPE_SZ);
}

static void pipe_make(void)
{
    for (int way = OUT; way <= BACK; way++) {
        if (pipe2(pipes[way], O_CLOEXEC))
            die("pipe");
        size_pipe(pipes[way][1], 2 * size);
    }
}

static void fifo_make(void)
{
    for (int way = OUT; way <= BACK; way++) {
        char dir[4096], path[4200];
        const char *tmp = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/plain-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(dir))
            die(dir);
        snprintf(path, sizeof path, "%s/fifo", dir);
        if (mkfifo(path, 0600))
            die(path);
        pipes[way][0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        pipes[way][1] = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        unlink(path);
        rmdir(dir);
        if (pipes[way][0] < 0 || pipes[way][1] < 0)
            die("cannot open a named pipe");
        size_pipe(pipes[way][1], 2 * size);
    }
}

/* Keeps this party's two ends. A process closes the others, so that it sees the other one leave. */
static void ends_take(int is_follower)
{
    tx = pipes[is_follower ? BACK : OUT][1];
    rx = pipes[is_follower ? OUT : BACK][0];
    if (!threads) {
        close(pipes[is_follower ? OUT : BACK][1]);
        close(pipes[is_follower ? BACK : OUT][0]);
    }
    bytes_prepare();
}

/* ---- vmsplice: pages of a ring of buffers, so long that the pipe cannot refer to the one that is written next. --- */

enum { PAGE_LEN = 4096 };

PRIVATE unsigned char *ring, *place;
PRIVATE size_t turn; /* buffer of the next message */
PRIVATE int file, null; /* where messages go, and what is not looked at */

static size_t stride, buffers;

static void vmsplice_make(void)
{
    size_t capacity = 0;
    for (int way = OUT; way <= BACK; way++) {
        if (pipe2(pipes[way], O_CLOEXEC))
            die("pipe");
        capacity = size_pipe(pipes[way][1], IN_FLIGHT);
    }
    size_t pages = (size + PAGE_LEN - 1) / PAGE_LEN;
    /* Small messages share a page and none straddles two, others begin at one. */
    for (stride = 64; stride < size && stride < PAGE_LEN;)
        stride *= 2;
    if (size > PAGE_LEN)
        stride = pages * PAGE_LEN;
    buffers = (capacity / PAGE_LEN + pages - 1) / pages + 1;
}

static void vmsplice_take(int is_follower)
{
    ends_take(is_follower);
    size_t len = buffers * stride;
    ring = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        die("mmap");
    (void)madvise(ring, len, MADV_NOHUGEPAGE);
    touch_pages(ring, len);
}

static void splice_take(int is_follower)
{
    vmsplice_take(is_follower);
    size_t len = (size + PAGE_LEN - 1) / PAGE_LEN * PAGE_LEN;
    file = memfd_create("plain", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, (off_t)len))
        die("memfd");
    place = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place == MAP_FAILED)
        die("mmap");
    touch_pages(place, len);
    null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0)
        die("/dev/null");
}

INLINE void pages_send(int way, uint64_t seq, int how)
{
    unsigned char *message = ring + turn * stride;
    turn = turn + 1 == buffers ? 0 : turn + 1;
    fill(way, seq, message);
    for (size_t sent = 0; sent < size;) {
        struct iovec rest = {message + sent, size - sent};
        sent += moved(vmsplice(tx, &rest, 1, how == BLOCK ? 0 : SPLICE_F_NONBLOCK), how, "vmsplice");
    }
}

#define vmsplice_send pages_send
#define vmsplice_recv bytes_recv
LOOPS(vmsplice, BLOCK)
LOOPS(vmsplice, SPIN)

#define splice_send pages_send
INLINE void splice_recv(int way, uint64_t seq, int how)
{
    const unsigned flags = how == BLOCK ? 0 : SPLICE_F_NONBLOCK;
    for (size_t filled = 0; filled < size;) {
        off_t at = (off_t)filled;
        if (touched == size)
            filled += moved(splice(rx, NULL, file, &at, size - filled, flags), how, "splice");
        else if (filled < touched)
            filled += moved(read(rx, place + filled, touched - filled), how, "read");
        else
            filled += moved(splice(rx, NULL, null, NULL, size - filled, flags), how, "splice");
    }
    check(way, seq, place);
}
LOOPS(splice, BLOCK)
LOOPS(splice, SPIN)

const Mechanism PIPES[] = {
    {"pipe", pipe_make, ends_take, {&bytes_BLOCK, &bytes_SPIN, READINESS}, PROCESSES | THREADS},
    {"fifo", fifo_make, ends_take, {&bytes_BLOCK, &bytes_SPIN, READINESS}, PROCESSES | THREADS},
    {"vmsplice", vmsplice_make, vmsplice_take, {&vmsplice_BLOCK, &vmsplice_SPIN, NULL}, PROCESSES | THREADS},
    {"vmsplice-splice", vmsplice_make, splice_take, {&splice_BLOCK, &splice_SPIN, NULL}, PROCESSES | THREADS},
    {0},
};
