/*
 * plain: the plainest C that does what a cell of ipcost does, as a yardstick for the cost of ipcost's own layers.
 *
 *     plain MECHANISM WORKLOAD SIZE WAIT PARTIES CPU_A CPU_B
 *     plain list
 *
 *     MECHANISM  what `plain list` names; a name that ipcost has too makes the same calls with the same capacities
 *     WORKLOAD   ping-pong (a message each way, one at a time) or stream (one direction)
 *     SIZE       bytes per message
 *     WAIT       block, spin, yield, poll or epoll
 *     PARTIES    process or thread
 *     CPU_A      where the leader (producer) is pinned
 *     CPU_B      where the follower (consumer), a forked child or a second thread, is pinned
 *
 * Protocol, as `ipcost cell --serve` speaks it: after a warm-up it prints "ready"; for each line with a number N on
 * standard input it carries N messages (round trips) and prints the nanoseconds that they took; it ends at end-of-file.
 * Between two such windows both parties sleep.
 *
 * Timing: CLOCK_MONOTONIC. The clock starts when the follower stands at the start line. A ping-pong ends when the
 * leader has verified the last pong, a stream when the follower has verified the last message.
 *
 * Build: gcc -std=c11 -O3 -pthread -o plain *.c -lrt   (at -O2 gcc 12 leaves the payload loops scalar). Linux on a
 * little-endian machine; nothing but the C library.
 */
#include "plain.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

size_t size, touched;
int wait_how, threads, streams;
void (*clean_up)(void);

static const Mechanism *const FAMILIES[] = {
    PIPES, SOCKETS, QUEUES, RINGS, MAILBOXES, BOUNDED, BUFFERS, FILES, FETCHED, URINGS,
};
static const char *const WAIT_NAMES[WAITS] = {[BLOCK] = "block", [SPIN] = "spin", [YIELD] = "yield",
                                              [POLL] = "poll",   [EPOLL] = "epoll"};

_Noreturn void die(const char *what)
{
    fprintf(stderr, "plain: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    if (clean_up)
        clean_up();
    _exit(1);
}

_Noreturn __attribute__((noinline, cold)) void wrong(uint64_t seq)
{
    char text[64];
    snprintf(text, sizeof text, "message %llu is wrong", (unsigned long long)seq);
    errno = 0;
    die(text);
}

/* ---- Memory and files. ------------------------------------------------------------------------------------------- */

void *shared_memory(size_t len)
{
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        die("cannot map shared memory");
    memset(at, 0, len);
    return at;
}

void *heap_memory(size_t len)
{
    void *at = aligned_alloc(4096, (len + 4095) / 4096 * 4096);
    if (!at)
        die("no memory");
    memset(at, 0, len);
    return at;
}

void touch_pages(void *at, size_t len)
{
    volatile unsigned char *byte = at;
    for (size_t k = 0; k < len; k += 4096)
        byte[k] = byte[k];
}

void nameless_file(int *fds, int count)
{
    char path[4096];
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/plain-XXXXXX", dir && *dir ? dir : "/tmp");
    fds[0] = mkostemp(path, O_CLOEXEC);
    if (fds[0] < 0)
        die(path);
    for (int k = 1; k < count; k++)
        if ((fds[k] = open(path, O_RDWR | O_CLOEXEC)) < 0)
            die(path);
    unlink(path);
}

void set_waiting(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    flags = wait_how == BLOCK ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (flags < 0 || fcntl(fd, F_SETFL, flags))
        die("fcntl");
}

/* ---- The page that both parties share: gates for the start and end of a window. ---------------------------------- */

typedef struct {
    _Alignas(128) _Atomic uint32_t step;
} Gate;

typedef struct {
    Gate go;    /* leader to follower: window number */
    Gate ready; /* follower to leader: at the start line of that window */
    Gate done;  /* follower to leader: that window is over */
    _Atomic uint64_t first, count, end_ns;
} Page;

static Page *page;
static Loop *lead, *follow;

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

static void follower(void)
{
    for (uint32_t step = 1;; step++) {
        pass_gate(&page->go, step);
        uint64_t first = atomic_load_explicit(&page->first, memory_order_relaxed);
        uint64_t n = atomic_load_explicit(&page->count, memory_order_relaxed);
        if (n == 0)
            return;
        open_gate(&page->ready, step);
        follow(first, n);
        atomic_store_explicit(&page->end_ns, now(), memory_order_relaxed);
        open_gate(&page->done, step);
    }
}

static uint32_t windows;
static uint64_t next; /* sequence number of the next message */

/* Lets the follower carry n messages, or end where n is 0. */
static void start_window(uint64_t n)
{
    atomic_store_explicit(&page->first, next, memory_order_relaxed);
    atomic_store_explicit(&page->count, n, memory_order_relaxed);
    open_gate(&page->go, ++windows);
}

/* Carries n messages and returns how long they took. */
static uint64_t window(uint64_t n)
{
    start_window(n);
    pass_gate(&page->ready, windows);
    uint64_t start = now();
    lead(next, n);
    uint64_t end = now();
    pass_gate(&page->done, windows);
    next += n;
    if (streams)
        end = atomic_load_explicit(&page->end_ns, memory_order_relaxed);
    return end - start;
}

/* ---- The two parties. -------------------------------------------------------------------------------------------- */

static const Mechanism *mechanism;
static int cpu_a, cpu_b;
static pid_t parent, child;
static pthread_t second;

int peer_pid(void)
{
    return getpid() == parent ? child : parent;
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("cannot pin to the CPU");
}

static void *follower_thread(void *nothing)
{
    pin(cpu_b);
    mechanism->take(1);
    follower();
    return nothing;
}

static void ended_early(int signal)
{
    if (clean_up)
        clean_up();
    static const char text[] = "plain: the follower died\n";
    if (signal == SIGCHLD && write(2, text, sizeof text - 1) < 0) {
    }
    _exit(1);
}

static void start_follower(void)
{
    parent = getpid();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, ended_early);
    if (threads) {
        if ((errno = pthread_create(&second, NULL, follower_thread, NULL)))
            die("pthread_create");
        return;
    }
    signal(SIGCHLD, ended_early);
    child = fork();
    if (child < 0)
        die("fork");
    if (child)
        return;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(1);
    follower_thread(NULL);
    _exit(0);
}

static void end_follower(void)
{
    signal(SIGCHLD, SIG_DFL);
    start_window(0);
    if (threads)
        pthread_join(second, NULL);
    else
        waitpid(child, NULL, 0);
    if (clean_up)
        clean_up();
}

/* ---- The command line. ------------------------------------------------------------------------------------------- */

#define EACH(MECHANISM)                                                                                                \
    for (size_t family = 0; family < sizeof FAMILIES / sizeof *FAMILIES; family++)                                     \
        for (const Mechanism *MECHANISM = FAMILIES[family]; MECHANISM->name; MECHANISM++)

static void usage(void)
{
    fputs("usage: plain MECHANISM ping-pong|stream SIZE block|spin|yield|poll|epoll process|thread CPU_A CPU_B\n"
          "       plain list\n",
          stderr);
    exit(2);
}

/* Each mechanism with its workloads, waits and parties, as plain.py reads it. */
static void list(void)
{
    EACH(m)
    {
        for (int how = 0; how < WAITS; how++) {
            for (int kind = 0; m->loops[how] && kind < 2; kind++)
                for (int party = 0; m->loops[how]->lead[kind] && party < 2; party++)
                    if (m->parties & (party ? THREADS : PROCESSES))
                        printf("%s %s %s %s\n", m->name, kind ? "stream" : "ping-pong", WAIT_NAMES[how],
                               party ? "thread" : "process");
        }
    }
}

static void parse(char **argv)
{
    EACH(m)
    if (!strcmp(m->name, argv[1]))
        mechanism = m;
    streams = !strcmp(argv[2], "stream");
    long long wanted = atoll(argv[3]);
    for (wait_how = 0; wait_how < WAITS && strcmp(WAIT_NAMES[wait_how], argv[4]);)
        wait_how++;
    threads = !strcmp(argv[5], "thread");
    cpu_a = atoi(argv[6]);
    cpu_b = atoi(argv[7]);
    if (!mechanism || wait_how == WAITS || wanted < 1 || wanted > 1 << 30)
        usage();
    if ((!streams && strcmp(argv[2], "ping-pong")) || (!threads && strcmp(argv[5], "process")))
        usage();
    size = (size_t)wanted;
    const char *touch = getenv("PLAIN_TOUCH");
    touched = touch && !strcmp(touch, "header") && size > 8 ? 8 : size;
    errno = 0;
    const Loops *loops = mechanism->loops[wait_how];
    if (!loops || !loops->lead[streams] || !(mechanism->parties & (threads ? THREADS : PROCESSES)))
        die("this mechanism has no such row; see `plain list`");
    if (cpu_a == cpu_b && wait_how == SPIN)
        die("two parties that spin need two CPUs");
    lead = loops->lead[streams];
    follow = loops->follow[streams];
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "list")) {
        list();
        return 0;
    }
    if (argc != 8)
        usage();
    parse(argv);
    page = shared_memory(sizeof *page);
    mechanism->make();
    start_follower();
    pin(cpu_a);
    mechanism->take(0);

    /* Warm-up: windows that double, until they lasted a fifth of a second together. */
    uint64_t warm = now();
    for (uint64_t n = 1; now() - warm < 200000000u; n *= 2)
        window(n);
    puts("ready");
    fflush(stdout);

    char order[64];
    while (fgets(order, sizeof order, stdin)) {
        char *end;
        errno = 0;
        uint64_t n = strtoull(order, &end, 10);
        if (n == 0 || (*end != '\n' && *end != '\0'))
            die("an order is not a number of messages");
        printf("%llu\n", (unsigned long long)window(n));
        fflush(stdout);
    }
    end_follower();
    return 0;
}
