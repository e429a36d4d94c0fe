// SPDX-License-Identifier: Apache-2.0
// A client of server-sent events: head of the response, chunked coding, events of one length.
#include "generator.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void ask_for_events(struct run *run, struct connection *c) {
    ask(run, c, run->path, "Accept: text/event-stream\r\n");
}

void read_events_head(struct run *run, struct connection *c) {
    size_t length = head_length(c);
    if (length == 0) return;
    if (memcmp(c->input, "HTTP/1.1 200 ", 13) != 0 ||
        !head_says(c, length, "content-type", "text/event-stream")) {
        give_up(run, c, HANDSHAKE);
        return;
    }
    c->chunks.used = head_says(c, length, "transfer-encoding", "chunked");
    c->filled -= length;
    memmove(c->input, c->input + length, c->filled);
    c->state = OPEN;
    read_events(run, c);
}

// Text of the stream: gathered until an event is whole.
static void stream_text(struct run *run, struct connection *c, const uint8_t *text, size_t length) {
    while (length > 0 && c->state == OPEN) {
        size_t part = run->size - c->assembled;
        if (part > length) part = length;
        memcpy(c->message + c->assembled, text, part);
        c->assembled += part;
        text += part;
        length -= part;
        if (c->assembled < run->size) return;
        c->assembled = 0;
        run->scenario->message(run, c, c->message, run->size);
    }
}

static int digit(uint8_t byte) {
    static const char DIGITS[] = "0123456789abcdef";
    const char *found = byte == 0 ? NULL : strchr(DIGITS, tolower(byte));
    return found == NULL ? -1 : (int)(found - DIGITS);
}

// One byte of a chunk's frame. Returns: false where it cannot stand.
static bool chunk_byte(struct chunks *chunks, uint8_t byte) {
    if (chunks->place == DATA_END) {
        if (byte == '\n') chunks->place = SIZE;
        return byte == '\r' || byte == '\n';
    }
    if (byte == '\n') { // a chunk of no bytes would end the stream, which has no end
        chunks->place = DATA;
        return chunks->left > 0;
    }
    if (byte == '\r' || byte == ';') chunks->place = EXTENSION;
    if (chunks->place == EXTENSION) return true;
    int value = digit(byte);
    chunks->left = chunks->left << 4 | (size_t)(value & 15);
    return value >= 0 && chunks->left < 1u << 28;
}

void read_events(struct run *run, struct connection *c) {
    const uint8_t *at = c->input, *end = c->input + c->filled;
    c->filled = 0; // all of it is read here, whatever is in it
    if (!c->chunks.used) stream_text(run, c, at, (size_t)(end - at));
    while (c->chunks.used && at < end && c->state == OPEN) {
        if (c->chunks.place != DATA) {
            if (!chunk_byte(&c->chunks, *at++)) give_up(run, c, PROTOCOL);
            continue;
        }
        size_t part = (size_t)(end - at) < c->chunks.left ? (size_t)(end - at) : c->chunks.left;
        stream_text(run, c, at, part);
        at += part;
        c->chunks.left -= part;
        if (c->chunks.left == 0) c->chunks.place = DATA_END;
    }
}
