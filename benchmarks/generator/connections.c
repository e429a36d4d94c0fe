// SPDX-License-Identifier: Apache-2.0
// The sockets: opened a few at a time, from several addresses, read when epoll says so.
#include "generator.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AT_ONCE = 128, SOURCES = 8, EVENTS = 512 };

static size_t all(const struct run *run) { return run->count + run->scenario->publishers; }

// Counts a connection as in use, or as failed, once.
void settle(struct run *run, struct connection *c) {
    if (!c->settled) run->settled++;
    c->settled = true;
}

void give_up(struct run *run, struct connection *c, enum trouble trouble) {
    if (c->state == GONE) return;
    run->troubles[trouble]++;
    close(c->socket);
    c->state = GONE;
    if (c->awaited) run->awaited--;
    c->awaited = false;
    settle(run, c);
}

// Sends all of it or gives up: what is written here is far less than a socket's buffer takes.
bool put(struct run *run, struct connection *c, const void *bytes, size_t length) {
    ssize_t sent = send(c->socket, bytes, length, MSG_NOSIGNAL);
    if (sent == (ssize_t)length) return true;
    give_up(run, c, CLOSED);
    return false;
}

// One address has about 28,000 ports; each eighth of the connections has an address of its own.
static int bound_socket(size_t number) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fatal("socket", "failed: is `ulimit -n` too low?");
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % SOURCES));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0) fatal("bind", "failed");
    return fd;
}

static void start(struct run *run, struct connection *c, size_t number) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(run->port)};
    struct epoll_event wanted = {.events = EPOLLOUT, .data.ptr = c};
    inet_pton(AF_INET, run->host, &server.sin_addr);
    c->number = number;
    c->state = CONNECTING;
    c->socket = bound_socket(number);
    if (connect(c->socket, (struct sockaddr *)&server, sizeof server) != 0 &&
        errno != EINPROGRESS) {
        give_up(run, c, CONNECT);
        return;
    }
    if (epoll_ctl(run->poll, EPOLL_CTL_ADD, c->socket, &wanted) != 0) fatal("epoll_ctl", "failed");
}

static void connected(struct run *run, struct connection *c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->socket, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
        give_up(run, c, CONNECT);
        return;
    }
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(run->poll, EPOLL_CTL_MOD, c->socket, &wanted);
    c->state = SHAKING;
    (run->scenario->websocket ? shake_hands : ask_for_events)(run, c);
}

static void readable(struct run *run, struct connection *c) {
    if (c->filled == INPUT) { // a head that does not end
        give_up(run, c, PROTOCOL);
        return;
    }
    ssize_t got = recv(c->socket, c->input + c->filled, INPUT - c->filled, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        give_up(run, c, c->state == SHAKING ? HANDSHAKE : CLOSED);
        return;
    }
    c->filled += (size_t)got;
    if (c->state == SHAKING) {
        (run->scenario->websocket ? read_handshake : read_events_head)(run, c);
    } else {
        (run->scenario->websocket ? read_frames : read_events)(run, c);
    }
}

// Waits for events and handles them. Returns: false when the deadline (ns) is over.
bool turn(struct run *run, uint64_t deadline) {
    struct epoll_event events[EVENTS];
    uint64_t time = now();
    if (time >= deadline) return false;
    int wait = (int)((deadline - time) / 1000000u) + 1;
    int count = epoll_wait(run->poll, events, EVENTS, wait);
    if (count < 0 && errno != EINTR) fatal("epoll_wait", "failed");
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state == CONNECTING) connected(run, c);
        else if (c->state != GONE) readable(run, c);
    }
    return true;
}

// Opens every connection. What is not in use by the deadline is missing.
void open_all(struct run *run) {
    uint64_t deadline = now() + OPENING_LIMIT * 1000000000ull;
    while (run->settled < all(run)) {
        for (; run->started < all(run) && run->started - run->settled < AT_ONCE; run->started++) {
            start(run, &run->connections[run->started], run->started);
        }
        if (!turn(run, deadline)) break;
    }
    for (size_t i = 0; i < run->started; i++) {
        if (!run->connections[i].settled) give_up(run, &run->connections[i], MISSING);
    }
    run->troubles[MISSING] += all(run) - run->started;
}
