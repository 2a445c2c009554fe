/*
 * process-vm: the sender keeps its messages in memory of its own and announces each by address and length in a ring of
 * 16-byte slots; the receiver fetches it with process_vm_readv(2) and then releases the announcement.
 */
#include "payload.h"
#include "ring.h"
#include <sys/prctl.h>
#include <sys/uio.h>

typedef struct {
    uint64_t address, len;
} Notice;

static Shape places, notices;
static void *regions[2]; /* by direction */

PRIVATE End tx, rx;
PRIVATE unsigned char *memory, *in;
PRIVATE int peer;

static void fetch_make(void)
{
    places = shape_of(size, buffer_for(size));
    notices = shape_of(sizeof(Notice), sizeof(Notice) * places.count);
    regions[OUT] = memfd_memory(notices.len);
    regions[BACK] = memfd_memory(notices.len);
}

static void fetch_take(int is_follower)
{
    tx = end_of(regions[is_follower ? BACK : OUT], notices);
    rx = end_of(regions[is_follower ? OUT : BACK], notices);
    touch_pages(regions[OUT], notices.len);
    touch_pages(regions[BACK], notices.len);
    memory = heap_memory(places.len);
    in = heap_memory(size);
    peer = peer_pid();
    /* Where Yama lets nobody but an ancestor read. A kernel without it does not know the call, and does not need it. */
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
}

INLINE void fetch_send(int way, uint64_t seq, int how)
{
    /* As many announcements as places: a free one means that its place was fetched. */
    Notice *notice = (Notice *)ring_reserve(&tx, how);
    unsigned char *place = memory + (tx.mine & (places.count - 1)) * places.stride;
    fill(way, seq, place);
    *notice = (Notice){(uintptr_t)place, size};
    ring_commit(&tx, how);
}

INLINE void fetch_recv(int way, uint64_t seq, int how)
{
    const Notice *notice = (const Notice *)ring_peek(&rx, how);
    struct iovec here = {in, size}, there = {(void *)(uintptr_t)notice->address, notice->len};
    if (process_vm_readv(peer, &here, 1, &there, 1, 0) != (ssize_t)size)
        die("process_vm_readv");
    ring_release(&rx, how);
    check(way, seq, in);
}

LOOPS(fetch, FUTEX)
LOOPS(fetch, SPIN)
LOOPS(fetch, YIELD)

const Mechanism FETCHED[] = {
    {"process-vm", fetch_make, fetch_take, {&fetch_FUTEX, &fetch_SPIN, &fetch_YIELD}, PROCESSES},
    {0},
};
