/*
 * plain: the plainest C that does what a cell of ipcost does, as a yardstick for the cost of ipcost's own layers.
 *
 *     plain MECH WORKLOAD SIZE CPU_A CPU_B
 *
 *     MECH      pipe         two anonymous pipes, one per direction
 *               unix-stream  one pair of connected Unix stream sockets
 *               ring         a ring in shared memory per direction, both sides spin, messages built and read in place
 *               slot-less    one stamp and one message per direction in shared memory, both sides spin; no slots
 *               line         a bare cache line that goes there and back; carries nothing (ping-pong only)
 *     WORKLOAD  ping-pong    a message each way, one at a time
 *               stream       one direction
 *     SIZE      bytes per message
 *     CPU_A     where the leader (producer) is pinned
 *     CPU_B     where the follower (consumer), a forked child, is pinned; may be the same CPU for pipe and unix-stream
 *
 * Protocol, as `ipcost cell --serve` speaks it: after a warm-up it prints "ready"; for each line with a number N on
 * standard input it carries N messages (round trips) and prints the nanoseconds that they took; it ends at end-of-file.
 * Between two such windows both processes sleep.
 *
 * Timing: CLOCK_MONOTONIC. The clock starts when the follower stands at the start line. A ping-pong ends when the
 * leader has verified the last pong, a stream when the follower has verified the last message.
 *
 * Build: gcc -std=c11 -O3 -o plain plain.c   (at -O2 gcc 12 leaves the payload loops scalar). Linux on a little-endian
 * machine; nothing but the C library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "plain: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    _exit(1);
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* what Rust's spin_loop() is there */
#endif
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Payload: word k of message seq is SALT[way] + seq * STRIDE + k * STEP, modulo 2^64. ------------------------- */

enum { OUT = 0, BACK = 1 };
static const uint64_t SALT[2] = {0x123456789ABCDE01u, 0x8BADF00D5EED4270u};
#define STEP 0x9E3779B97F4A7C15u
#define STRIDE 0xD1B54A32D192ED03u

static size_t size; /* bytes per message */

static inline void fill(int way, uint64_t seq, unsigned char *message)
{
    uint64_t word = SALT[way] + seq * STRIDE;
    const size_t len = size, words = len / 8;
    for (size_t k = 0; k < words; k++) {
        memcpy(message + 8 * k, &word, 8);
        word += STEP;
    }
    for (size_t k = 8 * words; k < len; k++) {
        message[k] = (unsigned char)word;
        word >>= 8;
    }
}

static __attribute__((noinline, cold)) void wrong(uint64_t seq)
{
    fprintf(stderr, "plain: message %llu is wrong\n", (unsigned long long)seq);
    _exit(1);
}

static inline void check(int way, uint64_t seq, const unsigned char *message)
{
    uint64_t word = SALT[way] + seq * STRIDE, differ = 0;
    const size_t len = size, words = len / 8;
    for (size_t k = 0; k < words; k++) {
        uint64_t found;
        memcpy(&found, message + 8 * k, 8);
        differ |= found ^ word;
        word += STEP;
    }
    for (size_t k = 8 * words; k < len; k++) {
        differ |= message[k] ^ (unsigned char)word;
        word >>= 8;
    }
    if (differ)
        wrong(seq);
}

/* ---- The page that both processes share: gates for the start and end of a window, and the bare line. ------------- */

typedef struct {
    _Alignas(128) _Atomic uint32_t step;
} Gate;

typedef struct {
    Gate go;    /* leader to follower: window number */
    Gate ready; /* follower to leader: at the start line of that window */
    Gate done;  /* follower to leader: that window is over */
    _Atomic uint64_t count, end_ns;
    _Alignas(128) _Atomic uint64_t line;
} Page;

static Page *page;

static void open_gate(Gate *gate, uint32_t step)
{
    atomic_store_explicit(&gate->step, step, memory_order_release);
    syscall(SYS_futex, &gate->step, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Looks a few times, then sleeps; wakes every 10 ms like a party of ipcost, so that both disturb each other alike. */
static void pass_gate(Gate *gate, uint32_t step)
{
    for (int looks = 1;; looks++) {
        uint32_t at = atomic_load_explicit(&gate->step, memory_order_acquire);
        if (at >= step)
            return;
        if (looks < 500) {
            relax();
        } else {
            struct timespec nap = {0, 10000000};
            syscall(SYS_futex, &gate->step, FUTEX_WAIT, at, &nap, NULL, 0);
        }
    }
}

static void *shared_memory(size_t len)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        die("cannot map shared memory");
    memset(at, 0, len);
    return at;
}

/* Each process has a page table of its own. Before the first message, so that nobody else writes here meanwhile. */
static void touch_pages(void *at, size_t len)
{
    volatile unsigned char *byte = at;
    for (size_t k = 0; k < len; k += 4096)
        byte[k] = byte[k];
}

/* ---- The four loops of a mechanism, made from its NAME_send(way, seq) and NAME_recv(way, seq). ------------------- */

static uint64_t next; /* sequence number of the next message; both sides count alike */

#define LOOPS(NAME)                                                                                                    \
    static __attribute__((noinline)) void NAME##_ping_pong_lead(uint64_t n)                                            \
    {                                                                                                                  \
        for (; n; n--, next++) {                                                                                       \
            NAME##_send(OUT, next);                                                                                    \
            NAME##_recv(BACK, next);                                                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAME##_ping_pong_follow(uint64_t n)                                          \
    {                                                                                                                  \
        for (; n; n--, next++) {                                                                                       \
            NAME##_recv(OUT, next);                                                                                    \
            NAME##_send(BACK, next);                                                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAME##_stream_lead(uint64_t n)                                               \
    {                                                                                                                  \
        for (; n; n--, next++)                                                                                         \
            NAME##_send(OUT, next);                                                                                    \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAME##_stream_follow(uint64_t n)                                             \
    {                                                                                                                  \
        for (; n; n--, next++)                                                                                         \
            NAME##_recv(OUT, next);                                                                                    \
    }

/* ---- pipe and unix-stream: blocking descriptors, a private buffer on each side. ---------------------------------- */

static int tx_fd, rx_fd;
static unsigned char *tx_message, *rx_message;

static inline void bytes_send(int way, uint64_t seq)
{
    fill(way, seq, tx_message);
    for (size_t sent = 0; sent < size;) {
        ssize_t got = write(tx_fd, tx_message + sent, size - sent);
        if (got >= 0)
            sent += (size_t)got;
        else if (errno != EINTR)
            die("write");
    }
}

static inline void bytes_recv(int way, uint64_t seq)
{
    for (size_t filled = 0; filled < size;) {
        ssize_t got = read(rx_fd, rx_message + filled, size - filled);
        if (got > 0)
            filled += (size_t)got;
        else if (got == 0)
            die("the peer left");
        else if (errno != EINTR)
            die("read");
    }
    check(way, seq, rx_message);
}

LOOPS(bytes)

/* Two messages, at least the default 64 KiB, at most what an unprivileged user may have. */
static void size_pipe(int fd)
{
    long largest = 1 << 20, wanted = 2 * (long)size;
    FILE *limit = fopen("/proc/sys/fs/pipe-max-size", "r");
    if (limit) {
        if (fscanf(limit, "%ld", &largest) != 1)
            largest = 1 << 20;
        fclose(limit);
    }
    if (wanted < 65536)
        wanted = 65536;
    if (wanted > largest)
        wanted = largest;
    (void)fcntl(fd, F_SETPIPE_SZ, (int)wanted); /* refused over the user's soft limit: the default stays */
}

/* Left alone unless a message does not fit twice. */
static void size_socket(int fd)
{
    int given = 0;
    socklen_t len = sizeof given;
    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &given, &len))
        die("getsockopt");
    if ((size_t)given < 2 * size) {
        given = (int)(2 * size);
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &given, sizeof given))
            die("setsockopt");
    }
}

static int out_pipe[2], back_pipe[2], pair[2];

static void pipe_make(void)
{
    if (pipe2(out_pipe, O_CLOEXEC) || pipe2(back_pipe, O_CLOEXEC))
        die("pipe");
    size_pipe(out_pipe[1]);
    size_pipe(back_pipe[1]);
}

static void pipe_take(int follower)
{
    close(follower ? out_pipe[1] : out_pipe[0]);
    close(follower ? back_pipe[0] : back_pipe[1]);
    tx_fd = follower ? back_pipe[1] : out_pipe[1];
    rx_fd = follower ? out_pipe[0] : back_pipe[0];
}

static void unix_make(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        die("socketpair");
    size_socket(pair[0]);
    size_socket(pair[1]);
}

static void unix_take(int follower)
{
    close(pair[!follower]);
    tx_fd = rx_fd = pair[follower];
}

static void bytes_buffers(void)
{
    tx_message = calloc(1, size);
    rx_message = calloc(1, size);
    if (!tx_message || !rx_message)
        die("no memory");
}

/* ---- ring: single producer, single consumer, each with a stale copy of the other's index. ------------------------ */

typedef struct {
    _Alignas(128) _Atomic uint64_t tail; /* messages ever committed */
    _Alignas(128) _Atomic uint64_t head; /* messages ever released */
} Ring;

static size_t stride, slots, ring_len;
static unsigned char *tx_ring, *rx_ring;
static uint64_t tx_tail, tx_head_seen, rx_head, rx_tail_seen;

static inline void ring_send(int way, uint64_t seq)
{
    Ring *ring = (Ring *)tx_ring;
    while (tx_tail - tx_head_seen >= slots) {
        tx_head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tx_tail - tx_head_seen >= slots)
            relax();
    }
    fill(way, seq, tx_ring + 4096 + (tx_tail & (slots - 1)) * stride);
    tx_tail++;
    atomic_store_explicit(&ring->tail, tx_tail, memory_order_release);
}

static inline void ring_recv(int way, uint64_t seq)
{
    Ring *ring = (Ring *)rx_ring;
    while (rx_head == rx_tail_seen) {
        rx_tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (rx_head == rx_tail_seen)
            relax();
    }
    check(way, seq, rx_ring + 4096 + (rx_head & (slots - 1)) * stride);
    rx_head++;
    atomic_store_explicit(&ring->head, rx_head, memory_order_release);
}

LOOPS(ring)

/* The same number of slots at the same distance as ipcost's ring (a megabyte, at least four messages up to
 * 16 MiB of them, else two); a page for the indices before them. */
static void ring_make(void)
{
    if (size > 32)
        stride = (size + 63) / 64 * 64;
    else
        for (stride = 8; stride < size;)
            stride *= 2;
    size_t few = 4 * size <= (16u << 20) ? 4 * size : 2 * size;
    size_t wanted = (few > (1u << 20) ? few : (1u << 20)) / stride;
    for (slots = 2; slots * 2 <= wanted;)
        slots *= 2;
    ring_len = (4096 + stride * slots + 4095) / 4096 * 4096;
    tx_ring = shared_memory(ring_len);
    rx_ring = shared_memory(ring_len);
}

static void ring_take(int follower)
{
    if (follower) {
        unsigned char *other = tx_ring;
        tx_ring = rx_ring;
        rx_ring = other;
    }
    touch_pages(tx_ring, ring_len);
    touch_pages(rx_ring, ring_len);
}

/* ---- slot-less: a stamp and the message behind it, one of them per direction. ------------------------------------ */

typedef struct {
    _Atomic uint32_t put;  /* messages ever put here */
    _Atomic uint32_t took; /* messages that the owner ever took from the other area; looked at in a stream only */
    unsigned char message[];
} Area;

static Area *tx_area, *rx_area;
static size_t area_len;
static int streams;

static inline void area_send(int way, uint64_t seq)
{
    /* In a ping-pong the pong says that the ping was taken. */
    if (streams)
        while (atomic_load_explicit(&rx_area->took, memory_order_acquire) != (uint32_t)seq)
            relax();
    fill(way, seq, tx_area->message);
    atomic_store_explicit(&tx_area->put, (uint32_t)seq + 1, memory_order_release);
}

static inline void area_recv(int way, uint64_t seq)
{
    while (atomic_load_explicit(&rx_area->put, memory_order_acquire) != (uint32_t)seq + 1)
        relax();
    check(way, seq, rx_area->message);
    if (streams)
        atomic_store_explicit(&tx_area->took, (uint32_t)seq + 1, memory_order_release);
}

LOOPS(area)

static void area_make(void)
{
    area_len = (sizeof(Area) + size + 255) / 256 * 256;
    tx_area = shared_memory(2 * area_len);
    rx_area = (Area *)((char *)tx_area + area_len);
}

static void area_take(int follower)
{
    touch_pages(tx_area, 2 * area_len);
    if (follower) {
        Area *other = tx_area;
        tx_area = rx_area;
        rx_area = other;
    }
}

/* ---- line: nothing but the turn. --------------------------------------------------------------------------------- */

static void line_lead(uint64_t n)
{
    for (; n; n--, next++) {
        atomic_store_explicit(&page->line, 2 * next + 1, memory_order_release);
        while (atomic_load_explicit(&page->line, memory_order_acquire) != 2 * next + 2)
            relax();
    }
}

static void line_follow(uint64_t n)
{
    for (; n; n--, next++) {
        while (atomic_load_explicit(&page->line, memory_order_acquire) != 2 * next + 1)
            relax();
        atomic_store_explicit(&page->line, 2 * next + 2, memory_order_release);
    }
}

/* ---- The two parties. -------------------------------------------------------------------------------------------- */

typedef void Loop(uint64_t n);
static Loop *lead, *follow;
static uint32_t step;

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("cannot pin to the CPU");
}

static void follower(void)
{
    for (;;) {
        pass_gate(&page->go, ++step);
        uint64_t n = atomic_load_explicit(&page->count, memory_order_relaxed);
        if (n == 0)
            _exit(0);
        open_gate(&page->ready, step);
        follow(n);
        atomic_store_explicit(&page->end_ns, now(), memory_order_relaxed);
        open_gate(&page->done, step);
    }
}

/* Carries n messages and returns how long they took. */
static uint64_t window(uint64_t n)
{
    atomic_store_explicit(&page->count, n, memory_order_relaxed);
    open_gate(&page->go, ++step);
    pass_gate(&page->ready, step);
    uint64_t start = now();
    lead(n);
    uint64_t end = now();
    pass_gate(&page->done, step);
    if (streams)
        end = atomic_load_explicit(&page->end_ns, memory_order_relaxed);
    return end - start;
}

static void child_died(int signal)
{
    (void)signal;
    static const char text[] = "plain: the follower died\n";
    if (write(2, text, sizeof text - 1) < 0) {
    }
    _exit(1);
}

static void usage(void)
{
    fputs("usage: plain pipe|unix-stream|ring|slot-less|line ping-pong|stream SIZE CPU_A CPU_B\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        usage();
    const char *mech = argv[1], *workload = argv[2];
    long long wanted = atoll(argv[3]);
    int cpu_a = atoi(argv[4]), cpu_b = atoi(argv[5]);
    void (*make)(void), (*take)(int);
    streams = !strcmp(workload, "stream");
    if ((!streams && strcmp(workload, "ping-pong")) || wanted < 1 || wanted > 1 << 30)
        usage();
    size = (size_t)wanted;

    if (!strcmp(mech, "pipe")) {
        make = pipe_make, take = pipe_take;
    } else if (!strcmp(mech, "unix-stream")) {
        make = unix_make, take = unix_take;
    } else if (!strcmp(mech, "ring")) {
        make = ring_make, take = ring_take;
    } else if (!strcmp(mech, "slot-less")) {
        make = area_make, take = area_take;
    } else if (!strcmp(mech, "line") && !streams) {
        make = NULL, take = NULL;
    } else {
        usage();
        return 2;
    }
    if (make == ring_make) {
        lead = streams ? ring_stream_lead : ring_ping_pong_lead;
        follow = streams ? ring_stream_follow : ring_ping_pong_follow;
    } else if (make == area_make) {
        lead = streams ? area_stream_lead : area_ping_pong_lead;
        follow = streams ? area_stream_follow : area_ping_pong_follow;
    } else if (make) {
        lead = streams ? bytes_stream_lead : bytes_ping_pong_lead;
        follow = streams ? bytes_stream_follow : bytes_ping_pong_follow;
        bytes_buffers();
    } else {
        lead = line_lead;
        follow = line_follow;
    }
    errno = 0;
    if (cpu_a == cpu_b && (make == ring_make || make == area_make || !make))
        die("two parties that spin need two CPUs");

    page = shared_memory(sizeof *page);
    if (make)
        make();
    signal(SIGCHLD, child_died);
    signal(SIGPIPE, SIG_IGN);
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        die("fork");
    pin(child ? cpu_a : cpu_b);
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
        _exit(1);
    if (take)
        take(child == 0);
    if (child == 0)
        follower();

    /* Warm-up: windows that double, until they lasted a fifth of a second together. */
    uint64_t warm = now();
    for (uint64_t n = 1; now() - warm < 200000000u; n *= 2)
        window(n);
    puts("ready");
    fflush(stdout);

    char order[64];
    while (fgets(order, sizeof order, stdin)) {
        char *end;
        uint64_t n = strtoull(order, &end, 10);
        errno = 0;
        if (n == 0 || (*end != '\n' && *end != '\0'))
            die("an order is not a number of messages");
        printf("%llu\n", (unsigned long long)window(n));
        fflush(stdout);
    }
    signal(SIGCHLD, SIG_DFL);
    atomic_store_explicit(&page->count, 0, memory_order_relaxed);
    open_gate(&page->go, ++step);
    waitpid(child, NULL, 0);
    return 0;
}
