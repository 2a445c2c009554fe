/*
 * One message per direction: mailbox (a stamp and the message behind it, for shm-slot), line (a bare cache line that goes
 * there and back and carries nothing: what any two parties that spin need at least) and lines (one line each that its
 * party writes and the other looks at: what a queue needs at least whose sides write no line of the other's).
 */
#include "payload.h"
#include "ring.h"

typedef struct {
    _Atomic uint32_t put;  /* messages ever put here */
    _Atomic uint32_t took; /* messages that the owner ever took from the other area; looked at in a stream only */
    unsigned char message[];
} Area;

static Area *areas[2]; /* by party */
static Bell *bells;    /* by party: it sleeps here */
static size_t area_len;

PRIVATE Area *mine, *theirs;
PRIVATE Bell *my_bell, *their_bell;

static void mailbox_make(void)
{
    area_len = (sizeof(Area) + size + 255) / 256 * 256;
    bells = shared_memory(2 * sizeof(Bell) + 2 * area_len);
    areas[0] = (Area *)(bells + 2);
    areas[1] = (Area *)((char *)areas[0] + area_len);
}

static void mailbox_take(int is_follower)
{
    touch_pages(bells, 2 * sizeof(Bell) + 2 * area_len);
    mine = areas[is_follower];
    theirs = areas[!is_follower];
    my_bell = &bells[is_follower];
    their_bell = &bells[!is_follower];
}

INLINE void mailbox_send(int way, uint64_t seq, int how)
{
    /* In a ping-pong the pong says that the ping was taken. */
    if (streams)
        BELL_WAIT(my_bell, how, 0, atomic_load_explicit(&theirs->took, memory_order_acquire) == (uint32_t)seq)
    fill(way, seq, mine->message);
    atomic_store_explicit(&mine->put, (uint32_t)seq + 1, memory_order_release);
    bell_ring(their_bell, how, 0);
}

INLINE void mailbox_recv(int way, uint64_t seq, int how)
{
    BELL_WAIT(my_bell, how, 0, atomic_load_explicit(&theirs->put, memory_order_acquire) == (uint32_t)seq + 1)
    check(way, seq, theirs->message);
    if (streams) {
        atomic_store_explicit(&mine->took, (uint32_t)seq + 1, memory_order_release);
        bell_ring(their_bell, how, 0);
    }
}

LOOPS(mailbox, SPIN)
LOOPS(mailbox, YIELD)
LOOPS(mailbox, FUTEX)

/* ---- line. ------------------------------------------------------------------------------------------------------- */

static _Atomic uint64_t *turn;

static void line_make(void)
{
    turn = shared_memory(4096);
}

static void line_take(int is_follower)
{
    (void)is_follower;
    touch_pages((void *)turn, 4096);
}

static void line_lead(uint64_t seq, uint64_t n)
{
    for (; n; n--, seq++) {
        atomic_store_explicit(turn, 2 * seq + 1, memory_order_release);
        while (atomic_load_explicit(turn, memory_order_acquire) != 2 * seq + 2)
            relax();
    }
}

static void line_follow(uint64_t seq, uint64_t n)
{
    for (; n; n--, seq++) {
        while (atomic_load_explicit(turn, memory_order_acquire) != 2 * seq + 1)
            relax();
        atomic_store_explicit(turn, 2 * seq + 2, memory_order_release);
    }
}

static const Loops line = {{line_lead, NULL}, {line_follow, NULL}};

/* ---- lines. ------------------------------------------------------------------------------------------------------ */

/* In pairs of lines of their own, as one may be fetched with its neighbour. */
static struct {
    _Alignas(128) _Atomic uint64_t sent;
} *lines_of;

static void lines_make(void)
{
    lines_of = shared_memory(4096);
}

static void lines_take(int is_follower)
{
    (void)is_follower;
    touch_pages(lines_of, 4096);
}

INLINE void lines_await(int whose, uint64_t count)
{
    while (atomic_load_explicit(&lines_of[whose].sent, memory_order_acquire) != count)
        relax();
}

static void lines_lead(uint64_t seq, uint64_t n)
{
    for (; n; n--, seq++) {
        atomic_store_explicit(&lines_of[OUT].sent, seq + 1, memory_order_release);
        lines_await(BACK, seq + 1);
    }
}

static void lines_follow(uint64_t seq, uint64_t n)
{
    for (; n; n--, seq++) {
        lines_await(OUT, seq + 1);
        atomic_store_explicit(&lines_of[BACK].sent, seq + 1, memory_order_release);
    }
}

static const Loops lines = {{lines_lead, NULL}, {lines_follow, NULL}};

const Mechanism MAILBOXES[] = {
    {"shm-slot", mailbox_make, mailbox_take, {&mailbox_FUTEX, &mailbox_SPIN, &mailbox_YIELD}, PROCESSES},
    {"line", line_make, line_take, {NULL, &line, NULL}, PROCESSES},
    {"lines", lines_make, lines_take, {NULL, &lines, NULL}, PROCESSES},
    {0},
};
