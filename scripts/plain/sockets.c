/*
 * Sockets: unix-stream (also for local-socket), unix-seqpacket, unix-dgram, tcp and udp. A send is send(2), as a
 * program writes that does not want SIGPIPE, a receive recv(2).
 */
#include "payload.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

INLINE ssize_t put(int fd, const void *from, size_t len)
{
    return send(fd, from, len, MSG_NOSIGNAL);
}

INLINE ssize_t get(int fd, void *to, size_t len)
{
    return recv(fd, to, len, 0);
}

#include "bytes.h"

static int pair[2]; /* one connection for both directions: leader's end, follower's end */

static int buffer(int fd, int which)
{
    int given = 0;
    socklen_t len = sizeof given;
    if (getsockopt(fd, SOL_SOCKET, which, &given, &len))
        die("getsockopt");
    return given;
}

static void set_buffer(int fd, int which, size_t bytes)
{
    int wanted = (int)bytes;
    if (setsockopt(fd, SOL_SOCKET, which, &wanted, sizeof wanted))
        die("setsockopt");
}

/* ---- unix-stream, unix-seqpacket, unix-dgram. -------------------------------------------------------------------- */

static void unix_pair(int type)
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair))
        die("socketpair");
}

/* The send buffer is left alone unless a message does not fit twice. */
static void stream_make(void)
{
    unix_pair(SOCK_STREAM);
    for (int end = 0; end < 2; end++)
        if ((size_t)buffer(pair[end], SO_SNDBUF) < 2 * size)
            set_buffer(pair[end], SO_SNDBUF, 2 * size);
}

static void packets_make(int type)
{
    unix_pair(type);
    for (int end = 0; end < 2; end++)
        set_buffer(pair[end], SO_SNDBUF, buffer_for(size));
}

static void seqpacket_make(void)
{
    packets_make(SOCK_SEQPACKET);
}

static void dgram_make(void)
{
    packets_make(SOCK_DGRAM);
}

static void socket_take(int is_follower)
{
    tx = rx = pair[is_follower];
    if (!threads)
        close(pair[!is_follower]);
    bytes_prepare();
}

/* ---- tcp. -------------------------------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return here;
}

static int bound_socket(int type)
{
    struct sockaddr_in here = loopback();
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here))
        die("cannot bind to 127.0.0.1");
    return fd;
}

static void connect_to(int fd, int other)
{
    struct sockaddr_in there;
    socklen_t len = sizeof there;
    if (getsockname(other, (struct sockaddr *)&there, &len) || connect(fd, (struct sockaddr *)&there, len))
        die("connect");
}

/* Half of what is to be under way in each buffer, and no holding back of small messages. */
static void tcp_make(void)
{
    int listener = bound_socket(SOCK_STREAM), on = 1;
    if (listen(listener, 1))
        die("listen");
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connect_to(pair[0], listener);
    pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (pair[1] < 0)
        die("accept");
    close(listener);
    for (int end = 0; end < 2; end++) {
        set_buffer(pair[end], SO_SNDBUF, buffer_for(size) / 2);
        set_buffer(pair[end], SO_RCVBUF, buffer_for(size) / 2);
        if (setsockopt(pair[end], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
            die("TCP_NODELAY");
    }
}

/* ---- udp: a window, so that the kernel drops nothing. The receiver gives half of it back with a datagram of one byte
 *      whenever it received that many messages, as engine/src/transport/udp.rs does: a call by design, and made here too. */

static int there[2], here[2]; /* by direction: the receiver's socket, the sender's */
static size_t window, half;
PRIVATE size_t left, since; /* messages that may be sent before the next credit; received since the last one */

/* Bytes of a receive buffer that one message takes, as the kernel accounts it: one is sent and looked at. */
static size_t charge(int fd)
{
    int probe = bound_socket(SOCK_DGRAM);
    uint32_t memory[9];
    socklen_t len = sizeof memory;
    unsigned char *message = heap_memory(size), byte;
    connect_to(probe, fd);
    if (send(probe, message, size, 0) != (ssize_t)size || recv(fd, &byte, 1, MSG_PEEK) < 0)
        die("a datagram to oneself");
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &len) || recv(fd, &byte, 1, 0) < 0)
        die("SO_MEMINFO");
    close(probe);
    free(message);
    return memory[0] ? memory[0] : 1;
}

static void udp_make(void)
{
    for (int way = OUT; way <= BACK; way++) {
        there[way] = bound_socket(SOCK_DGRAM);
        set_buffer(there[way], SO_RCVBUF, 2 * buffer_for(size));
        window = (size_t)buffer(there[way], SO_RCVBUF) / 2 / charge(there[way]);
        if (window == 0)
            window = 1;
        here[way] = bound_socket(SOCK_DGRAM);
        connect_to(there[way], here[way]);
        connect_to(here[way], there[way]);
    }
    half = window / 2 ? window / 2 : 1;
}

static void udp_take(int is_follower)
{
    tx = here[is_follower ? BACK : OUT];
    rx = there[is_follower ? OUT : BACK];
    left = window;
    bytes_prepare();
}

INLINE void udp_send(int way, uint64_t seq, int how)
{
    unsigned char credit;
    fill(way, seq, out);
    if (left == 0) {
        while (!moved(recv(tx, &credit, 1, 0), how, "recv")) {
        }
        left = half;
    }
    while (!moved(send(tx, out, size, 0), how, "send")) {
    }
    left--;
}

INLINE void udp_recv(int way, uint64_t seq, int how)
{
    static const unsigned char credit = 1;
    while (!moved(recv(rx, in, size, 0), how, "recv")) {
    }
    if (++since >= half) {
        since = 0;
        while (!moved(send(rx, &credit, 1, 0), how, "send")) {
        }
    }
    check(way, seq, in);
}

LOOPS(udp, BLOCK)
LOOPS(udp, SPIN)

const Mechanism SOCKETS[] = {
    {"unix-stream", stream_make, socket_take, {&bytes_BLOCK, &bytes_SPIN, READINESS}, PROCESSES | THREADS},
    {"unix-seqpacket", seqpacket_make, socket_take, {&bytes_BLOCK, &bytes_SPIN, READINESS}, PROCESSES | THREADS},
    {"unix-dgram", dgram_make, socket_take, {&bytes_BLOCK, &bytes_SPIN, READINESS}, PROCESSES | THREADS},
    {"tcp", tcp_make, socket_take, {&bytes_BLOCK, &bytes_SPIN, READINESS}, PROCESSES | THREADS},
    {"udp", udp_make, udp_take, {&udp_BLOCK, &udp_SPIN, NULL}, PROCESSES | THREADS},
    {0},
};
