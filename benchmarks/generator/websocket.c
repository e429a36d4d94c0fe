// SPDX-License-Identifier: Apache-2.0
// The client's half of RFC 6455: opening handshake, masked frames out, unmasked frames in.
#include "generator.h"

#include <string.h>
#include <sys/random.h>

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10, FINAL = 0x80, MASKED = 0x80 };

// The key of RFC 6455, 1.3, and the answer that belongs to it.
static const char HEADERS[] = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

void shake_hands(struct run *run, struct connection *c) {
    ask(run, c, c->number < run->count ? run->path : "/publish", HEADERS);
}

void read_handshake(struct run *run, struct connection *c) {
    size_t length = head_length(c);
    if (length == 0) return;
    if (memcmp(c->input, "HTTP/1.1 101 ", 13) != 0 ||
        !head_says(c, length, "sec-websocket-accept", ACCEPT) ||
        head_says(c, length, "sec-websocket-extensions", "")) {
        give_up(run, c, HANDSHAKE);
        return;
    }
    c->filled -= length;
    memmove(c->input, c->input + length, c->filled);
    c->state = OPEN;
    if (!run->scenario->greeted || c->number >= run->count) settle(run, c);
    read_frames(run, c);
}

// Four bytes that nobody can foretell (RFC 6455, 5.3), fetched from the kernel by the page.
static const uint8_t *masking_key(void) {
    static uint8_t pool[4096];
    static size_t used = sizeof pool;
    if (used == sizeof pool) {
        if (getrandom(pool, sizeof pool, 0) != sizeof pool) fatal("getrandom", "failed");
        used = 0;
    }
    used += 4;
    return pool + used - 4;
}

static void send_frame(struct run *run, struct connection *c, uint8_t opcode,
                       const uint8_t *payload, size_t length) {
    uint8_t frame[MAX_MESSAGE + 8];
    size_t at = 0;
    frame[at++] = FINAL | opcode;
    if (length < 126) {
        frame[at++] = MASKED | (uint8_t)length;
    } else {
        frame[at++] = MASKED | 126;
        frame[at++] = (uint8_t)(length >> 8);
        frame[at++] = (uint8_t)length;
    }
    const uint8_t *key = masking_key();
    memcpy(frame + at, key, 4);
    at += 4;
    for (size_t i = 0; i < length; i++) frame[at + i] = payload[i] ^ key[i & 3];
    put(run, c, frame, at + length);
}

void send_text(struct run *run, struct connection *c, const uint8_t *text, size_t length) {
    send_frame(run, c, TEXT, text, length);
}

static void data_frame(struct run *run, struct connection *c, const uint8_t *frame, uint8_t opcode,
                       const uint8_t *payload, size_t length) {
    // A message begins with its opcode and goes on with 0; all of ours are text.
    bool begins = c->opcode == 0;
    if (begins != (opcode != 0) || (begins && opcode != TEXT) ||
        c->assembled + length > sizeof c->message) {
        give_up(run, c, PROTOCOL);
        return;
    }
    if (begins) c->opcode = opcode;
    memcpy(c->message + c->assembled, payload, length);
    c->assembled += length;
    if (!(frame[0] & FINAL)) return;
    size_t whole = c->assembled;
    c->assembled = c->opcode = 0;
    run->scenario->message(run, c, c->message, whole);
}

static void frame_arrived(struct run *run, struct connection *c, const uint8_t *frame,
                          const uint8_t *payload, size_t length) {
    uint8_t opcode = frame[0] & 15;
    if (opcode <= BINARY) {
        data_frame(run, c, frame, opcode, payload, length);
    } else if (opcode == PING && length < 126) {
        send_frame(run, c, PONG, payload, length);
    } else if (opcode == CLOSE) {
        give_up(run, c, CLOSED);
    } else if (opcode != PONG) {
        give_up(run, c, PROTOCOL);
    }
}

// Bytes of the frame at `at` with its header: 0 while it is not whole, INPUT + 1 when illegal.
static size_t frame_length(const struct connection *c, const uint8_t *at, size_t *header) {
    size_t have = c->filled - (size_t)(at - c->input);
    *header = 2;
    if (have < 2) return 0;
    if ((at[0] & 0x70) != 0 || (at[1] & MASKED) != 0) return INPUT + 1;
    size_t length = at[1];
    if (length == 126) {
        *header = 4;
        if (have < 4) return 0;
        length = (size_t)at[2] << 8 | at[3];
    }
    // A length of 64 bits is longer than anything that was sent.
    if (at[1] == 127 || *header + length > INPUT) return INPUT + 1;
    return have < *header + length ? 0 : *header + length;
}

void read_frames(struct run *run, struct connection *c) {
    const uint8_t *at = c->input;
    size_t header, length;
    while (c->state == OPEN && (length = frame_length(c, at, &header)) > 0) {
        if (length > INPUT) {
            give_up(run, c, PROTOCOL);
            return;
        }
        frame_arrived(run, c, at, at + header, length - header);
        at += length;
    }
    c->filled -= (size_t)(at - c->input);
    memmove(c->input, at, c->filled);
}
