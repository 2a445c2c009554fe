/*
 * What carries bytes through descriptors, for pipes and for sockets: one call for a message where the kernel takes it
 * whole, made again where it does not. The file that includes this has put(fd, from, len) and get(fd, to, len), the two
 * calls. With POLL and EPOLL every such call follows one ppoll(2) or one epoll_wait(2), as in engine/src/transport/bytes.rs.
 */
#ifndef BYTES_H
#define BYTES_H
#include "payload.h"
#include <poll.h>
#include <sys/epoll.h>

PRIVATE int tx, rx;
PRIVATE int tx_watch, rx_watch; /* epoll instances of one descriptor each, level-triggered */
PRIVATE unsigned char *out, *in;

/* The bytes that a call moved, or 0 if it is to be made again. */
INLINE size_t moved(ssize_t result, int how, const char *call)
{
    if (result > 0)
        return (size_t)result;
    if (result == 0)
        errno = 0, die("the peer left");
    if (errno == EAGAIN)
        pause_as(how);
    else if (errno != EINTR)
        die(call);
    return 0;
}

static int watch_for(int fd, uint32_t what)
{
    struct epoll_event event = {.events = what};
    int watch = epoll_create1(EPOLL_CLOEXEC);
    if (watch < 0 || epoll_ctl(watch, EPOLL_CTL_ADD, fd, &event))
        die("epoll");
    return watch;
}

/* Memory for a message each way, and how this party waits at its two ends. */
static void bytes_prepare(void)
{
    set_waiting(tx);
    set_waiting(rx);
    if (wait_how == EPOLL) {
        tx_watch = watch_for(tx, EPOLLOUT);
        rx_watch = watch_for(rx, EPOLLIN);
    }
    out = heap_memory(size);
    in = heap_memory(size);
}

/* Sleeps until the descriptor is ready, where that is asked for. */
INLINE void until_ready(int fd, short what, int watch, int how)
{
    int found = 1;
    if (how == POLL) {
        do {
            struct pollfd one = {.fd = fd, .events = what};
            found = ppoll(&one, 1, NULL, NULL);
        } while (found < 0 && errno == EINTR);
    } else if (how == EPOLL) {
        do {
            struct epoll_event event;
            found = epoll_wait(watch, &event, 1, -1);
        } while (found < 0 && errno == EINTR);
    }
    if (found < 0)
        die("cannot wait");
}

INLINE void bytes_send(int way, uint64_t seq, int how)
{
    fill(way, seq, out);
    for (size_t sent = 0; sent < size;) {
        until_ready(tx, POLLOUT, tx_watch, how);
        sent += moved(put(tx, out + sent, size - sent), how, "cannot send");
    }
}

INLINE void bytes_recv(int way, uint64_t seq, int how)
{
    for (size_t filled = 0; filled < size;) {
        until_ready(rx, POLLIN, rx_watch, how);
        filled += moved(get(rx, in + filled, size - filled), how, "cannot receive");
    }
    check(way, seq, in);
}

LOOPS(bytes, BLOCK)
LOOPS(bytes, SPIN)
LOOPS(bytes, POLL)
LOOPS(bytes, EPOLL)

#define READINESS [POLL] = &bytes_POLL, [EPOLL] = &bytes_EPOLL

#endif
