// SPDX-License-Identifier: Apache-2.0
// What the connections are used for, and what must arrive: every answer is compared byte by byte.
#include "generator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCE = 10, TIME = 20 }; // digits

// A message: who sent it, which one it is, filled up to its length.
static size_t compose(const struct run *run, size_t sender, uint64_t sequence, uint8_t *text) {
    char start[48];
    int length = snprintf(start, sizeof start, "%010zu %010llu ", sender,
                          (unsigned long long)sequence);
    memset(text, 'x', run->size);
    memcpy(text, start, (size_t)length);
    return run->size;
}

static bool same(const struct run *run, size_t sender, uint64_t sequence, const uint8_t *text,
                 size_t length) {
    uint8_t expected[MAX_MESSAGE];
    return length == compose(run, sender, sequence, expected) &&
           memcmp(expected, text, length) == 0;
}

static void answered(struct run *run, struct connection *c) {
    run->operations++;
    record(&run->latencies, now() - c->asked_at);
    c->awaited = false;
    run->awaited--;
}

// --- echo: each socket sends its next message when the last one has come back -----------------

static void send_next(struct run *run, struct connection *c) {
    uint8_t text[MAX_MESSAGE];
    if (c->state != OPEN) return;
    c->awaited = true;
    run->awaited++;
    c->asked_at = now();
    send_text(run, c, text, compose(run, c->number, c->sequence, text));
}

static void send_on_all(struct run *run) {
    for (size_t i = 0; i < run->count; i++) send_next(run, &run->connections[i]);
}

static void echoed(struct run *run, struct connection *c, const uint8_t *text, size_t length) {
    if (!c->awaited || !same(run, c->number, c->sequence, text, length)) {
        give_up(run, c, MISMATCH);
        return;
    }
    answered(run, c);
    c->sequence++;
    if (run->phase == RUNNING && !run->scenario->holds) send_next(run, c);
}

// --- fan-out: a message is published when all subscribers have the last one -------------------

static void publish(struct run *run) {
    struct connection *publisher = &run->connections[run->count];
    uint8_t text[MAX_MESSAGE];
    if (publisher->state != OPEN) return;
    uint64_t time = now();
    run->sequence++;
    for (size_t i = 0; i < run->count; i++) {
        struct connection *c = &run->connections[i];
        if (c->state != OPEN) continue;
        c->awaited = true;
        c->asked_at = time;
        run->awaited++;
    }
    send_text(run, publisher, text, compose(run, run->count, run->sequence, text));
}

static void delivered(struct run *run, struct connection *c, const uint8_t *text, size_t length) {
    if (!c->settled && length == 10 && memcmp(text, "subscribed", 10) == 0) {
        settle(run, c);
        return;
    }
    if (!c->awaited || !same(run, run->count, run->sequence, text, length)) {
        give_up(run, c, MISMATCH);
        return;
    }
    answered(run, c);
    if (run->awaited == 0 && run->phase == RUNNING) publish(run);
}

// --- events: `id: SEQUENCE`, `data: TIME xxx`, as apps/bench_asgi.py writes them ---------------

static void no_beginning(struct run *run) { (void)run; } // the events come by themselves

static bool number_at(const uint8_t *text, size_t digits, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

// Whether this is the connection's next event, and when it was made.
static bool is_next_event(const struct connection *c, const uint8_t *text, size_t length,
                          uint64_t *made_at) {
    uint64_t sequence;
    const uint8_t *data = text + 4 + SEQUENCE, *fill = data + 7 + TIME;
    const uint8_t *end = text + length - 2;
    if (memcmp(text, "id: ", 4) != 0 || memcmp(data, "\ndata: ", 7) != 0) return false;
    if (!number_at(text + 4, SEQUENCE, &sequence) || !number_at(data + 7, TIME, made_at)) {
        return false;
    }
    if (sequence != c->sequence || *made_at > now() || *fill++ != ' ') return false;
    while (fill < end && *fill == 'x') fill++;
    return fill == end && memcmp(end, "\n\n", 2) == 0;
}

static void event(struct run *run, struct connection *c, const uint8_t *text, size_t length) {
    uint64_t made_at;
    if (!is_next_event(c, text, length, &made_at)) {
        give_up(run, c, MISMATCH);
        return;
    }
    c->sequence++;
    settle(run, c);
    if (run->phase != RUNNING) return;
    run->operations++;
    record(&run->latencies, now() - made_at);
}

static const struct scenario SCENARIOS[] = {
    {.name = "echo", .websocket = true, .begin = send_on_all, .message = echoed},
    {.name = "idle", .websocket = true, .holds = true, .begin = send_on_all, .message = echoed},
    {.name = "fanout", .websocket = true, .greeted = true, .publishers = 1, .begin = publish,
     .message = delivered},
    {.name = "events", .begin = no_beginning, .message = event},
};

const struct scenario *scenario_named(const char *name) {
    for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++) {
        if (strcmp(SCENARIOS[i].name, name) == 0) return &SCENARIOS[i];
    }
    fatal("echo, idle, fanout and events are known, not", name);
    return NULL;
}
