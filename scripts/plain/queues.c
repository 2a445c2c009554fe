/*
 * Message queues of the kernel: posix-mq and sysv-mq. Two queues, one per direction.
 */
#include "payload.h"
#include <fcntl.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* ---- posix-mq: as deep as the machine's settings allow, up to a megabyte; see engine/src/transport/posix_mq.rs. ------ */

/* Bytes that the kernel counts for a message besides its own, on 64-bit machines. */
enum { OVERHEAD = 96, HARD_DEPTH = 65536 };

static mqd_t queues[2][2]; /* by direction: to receive, to send */
PRIVATE mqd_t to, from;
PRIVATE unsigned char *out, *in;

static size_t most_messages(void)
{
    size_t most = 10;
    FILE *setting = fopen("/proc/sys/fs/mqueue/msg_max", "r");
    if (setting) {
        if (fscanf(setting, "%zu", &most) != 1)
            most = 10;
        fclose(setting);
    }
    return most;
}

/* A quarter of RLIMIT_MSGQUEUE at most, and what is left of it; more than fs.mqueue.msg_max for whoever may. */
static mqd_t mq_make_one(const char *name)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MSGQUEUE, &limit))
        die("RLIMIT_MSGQUEUE");
    size_t bytes = limit.rlim_cur > (1ull << 40) ? 1ull << 40 : limit.rlim_cur, count = HARD_DEPTH;
    for (;;) {
        size_t depth = IN_FLIGHT / size > 2 ? IN_FLIGHT / size : 2, by_bytes = bytes / 4 / (size + OVERHEAD);
        if (by_bytes < 1)
            by_bytes = 1;
        depth = depth < by_bytes ? depth : by_bytes;
        depth = depth < count ? depth : count;
        struct mq_attr attributes = {.mq_maxmsg = (long)depth, .mq_msgsize = (long)size};
        mqd_t made = mq_open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
        if (made >= 0)
            return made;
        if (errno == EINVAL && count == HARD_DEPTH)
            count = most_messages();
        else if (errno == EMFILE && depth > 1)
            count = depth / 2;
        else
            die("mq_open");
    }
}

static void mq_make(void)
{
    for (int way = OUT; way <= BACK; way++) {
        char name[64];
        snprintf(name, sizeof name, "/plain-%d-%d", (int)getpid(), way);
        queues[way][1] = mq_make_one(name);
        queues[way][0] = mq_open(name, O_RDONLY | O_CLOEXEC);
        mq_unlink(name);
        if (queues[way][0] < 0)
            die("mq_open");
    }
}

static void mq_take(int is_follower)
{
    to = queues[is_follower ? BACK : OUT][1];
    from = queues[is_follower ? OUT : BACK][0];
    set_waiting(to);
    set_waiting(from);
    out = heap_memory(size);
    in = heap_memory(size);
}

INLINE void again(int how, const char *call)
{
    if (errno == EAGAIN || errno == ENOMSG)
        pause_as(how);
    else if (errno != EINTR)
        die(call);
}

INLINE void mq_give(int way, uint64_t seq, int how)
{
    fill(way, seq, out);
    while (mq_send(to, (const char *)out, size, 0) < 0)
        again(how, "mq_send");
}

INLINE void mq_get(int way, uint64_t seq, int how)
{
    while (mq_receive(from, (char *)in, size, NULL) < 0)
        again(how, "mq_receive");
    check(way, seq, in);
}

/* posix-mq-inplace: the same system calls without the functions of the C library around them, which is how ipcost makes them.
 * A queue of ten messages is full or empty after a few, so which side is the faster one decides how often one sleeps. */
INLINE long in_place(long number, mqd_t queue, unsigned char *message)
{
#ifdef __x86_64__
    register long priority __asm__("r10") = 0, timeout __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"((long)queue), "S"(message), "d"(size), "r"(priority), "r"(timeout)
                     : "rcx", "r11", "memory");
    if (result < 0)
        errno = (int)-result;
    return result;
#else
    return syscall(number, queue, message, size, 0L, NULL);
#endif
}

INLINE void inplace_send(int way, uint64_t seq, int how)
{
    fill(way, seq, out);
    while (in_place(SYS_mq_timedsend, to, out) < 0)
        again(how, "mq_timedsend");
}

INLINE void inplace_recv(int way, uint64_t seq, int how)
{
    while (in_place(SYS_mq_timedreceive, from, in) < 0)
        again(how, "mq_timedreceive");
    check(way, seq, in);
}

LOOPS(inplace, BLOCK)

#define posix_send mq_give
#define posix_recv mq_get
LOOPS(posix, BLOCK)
LOOPS(posix, SPIN)
LOOPS(posix, YIELD)

/* ---- sysv-mq. A queue outlives everybody: it is removed at every end of the program. -------------------------- */

static int ids[2] = {-1, -1};
PRIVATE int to_id, from_id;

struct letter {
    long type;
    unsigned char text[];
};
PRIVATE struct letter *out_letter, *in_letter;

static void remove_queues(void)
{
    for (int way = OUT; way <= BACK; way++)
        if (ids[way] >= 0)
            msgctl(ids[way], IPC_RMID, NULL);
}

static void sysv_make(void)
{
    clean_up = remove_queues;
    for (int way = OUT; way <= BACK; way++) {
        struct msqid_ds status;
        ids[way] = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
        if (ids[way] < 0 || msgctl(ids[way], IPC_STAT, &status))
            die("msgget");
        status.msg_qbytes = 2 * size > IN_FLIGHT ? 2 * size : IN_FLIGHT;
        (void)msgctl(ids[way], IPC_SET, &status); /* needs a privilege; else the queue keeps what it had */
    }
}

static void sysv_take(int is_follower)
{
    to_id = ids[is_follower ? BACK : OUT];
    from_id = ids[is_follower ? OUT : BACK];
    out_letter = heap_memory(sizeof(struct letter) + size);
    in_letter = heap_memory(sizeof(struct letter) + size);
    out_letter->type = 1;
}

INLINE void sysv_send(int way, uint64_t seq, int how)
{
    fill(way, seq, out_letter->text);
    while (msgsnd(to_id, out_letter, size, how == BLOCK ? 0 : IPC_NOWAIT) < 0)
        again(how, "msgsnd");
}

INLINE void sysv_recv(int way, uint64_t seq, int how)
{
    while (msgrcv(from_id, in_letter, size, 0, how == BLOCK ? 0 : IPC_NOWAIT) < 0)
        again(how, "msgrcv");
    check(way, seq, in_letter->text);
}

LOOPS(sysv, BLOCK)
LOOPS(sysv, SPIN)
LOOPS(sysv, YIELD)

const Mechanism QUEUES[] = {
    {"posix-mq", mq_make, mq_take, {&posix_BLOCK, &posix_SPIN, &posix_YIELD}, PROCESSES | THREADS},
    {"posix-mq-inplace", mq_make, mq_take, {&inplace_BLOCK, NULL, NULL}, PROCESSES | THREADS},
    {"sysv-mq", sysv_make, sysv_take, {&sysv_BLOCK, &sysv_SPIN, &sysv_YIELD}, PROCESSES | THREADS},
    {0},
};
