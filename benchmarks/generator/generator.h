// SPDX-License-Identifier: Apache-2.0
// What the files of the load generator share; main.c says what it is and how it is called.
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    INPUT = 8192,       // bytes of a connection's input: an HTTP head, or a frame with its header
    MAX_MESSAGE = 4096, // bytes of a WebSocket message
    PATIENCE = 10,      // seconds after which what has not arrived counts as missing
    OPENING_LIMIT = 120 // seconds that opening all connections may take
};

enum phase { OPENING, RUNNING, DRAINING };

// What can be wrong, each counted. Any of them makes the measurement not valid.
enum trouble { CONNECT, HANDSHAKE, PROTOCOL, MISMATCH, CLOSED, MISSING, TROUBLES };

enum state { CONNECTING, SHAKING, OPEN, GONE };

// The chunked coding (RFC 9112, 7.1) of a response, byte by byte.
struct chunks {
    bool used;      // whether the response has this coding at all
    enum { SIZE, EXTENSION, DATA, DATA_END } place;
    size_t left;    // bytes of the chunk still to come
};

struct connection {
    int socket;
    enum state state;
    bool settled;      // counted by run.settled: in use, or failed
    size_t number;
    uint64_t sequence; // of the message or event that comes next
    bool awaited;      // whether an answer is due
    uint64_t asked_at; // when it was asked for, ns
    size_t filled;     // bytes in input
    uint8_t input[INPUT];
    size_t assembled;  // bytes in message
    uint8_t opcode;    // of the message that is assembled; 0: none is
    uint8_t message[MAX_MESSAGE]; // payload of a message so far, or an event so far
    struct chunks chunks;
};

// Latencies in ns, in 16 buckets per doubling: a reading is at most 1/16 too high.
struct histogram {
    uint64_t counts[64 * 16];
    uint64_t total;
};

struct run;

// What is done with the connections; scenarios.c has the table.
struct scenario {
    const char *name;
    bool websocket;   // else server-sent events
    bool greeted;     // a subscriber is in use from the greeting on
    bool holds;       // the seconds are spent idle, before each socket is asked once
    size_t publishers; // connections with the path /publish, after all the others
    void (*begin)(struct run *);
    void (*message)(struct run *, struct connection *, const uint8_t *, size_t);
};

struct run {
    const struct scenario *scenario;
    const char *host, *path;
    uint16_t port;
    size_t count;   // connections, without publishers
    double seconds;
    size_t size;    // bytes of a message
    enum phase phase;
    int poll;
    struct connection *connections;
    size_t started, settled, awaited;
    uint64_t sequence; // of the message that was published last
    uint64_t operations, troubles[TROUBLES];
    struct histogram latencies;
};

// main.c
void fatal(const char *what, const char *value);

// clock.c
uint64_t now(void);
double processor_seconds(void);
void record(struct histogram *, uint64_t nanoseconds);
double quantile(const struct histogram *, double part);

// connections.c
void open_all(struct run *);
bool turn(struct run *, uint64_t deadline);
void give_up(struct run *, struct connection *, enum trouble);
void settle(struct run *, struct connection *);
bool put(struct run *, struct connection *, const void *, size_t);

// http.c
size_t head_length(const struct connection *);
bool head_says(const struct connection *, size_t length, const char *name, const char *value);
void ask(struct run *, struct connection *, const char *path, const char *headers);

// websocket.c
void shake_hands(struct run *, struct connection *);
void read_handshake(struct run *, struct connection *);
void read_frames(struct run *, struct connection *);
void send_text(struct run *, struct connection *, const uint8_t *, size_t);

// events.c
void ask_for_events(struct run *, struct connection *);
void read_events_head(struct run *, struct connection *);
void read_events(struct run *, struct connection *);

// scenarios.c
const struct scenario *scenario_named(const char *);

#endif
