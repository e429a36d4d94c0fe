// SPDX-License-Identifier: Apache-2.0
// The little HTTP/1.1 that is needed: a request without a body, the head of the answer.
#include "generator.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// Bytes of the head in the input, with its empty line; 0 while it is not whole.
size_t head_length(const struct connection *c) {
    const uint8_t *end = memmem(c->input, c->filled, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - c->input) + 4;
}

static bool line_says(const char *line, size_t length, const char *name, const char *value) {
    size_t named = strlen(name), valued = strlen(value);
    if (length <= named || strncasecmp(line, name, named) != 0 || line[named] != ':') return false;
    const char *found = line + named + 1, *end = line + length;
    while (found < end && isblank((unsigned char)*found)) found++;
    return (size_t)(end - found) >= valued && strncasecmp(found, value, valued) == 0;
}

// Whether a header `name` begins with `value`, both in any case.
bool head_says(const struct connection *c, size_t length, const char *name, const char *value) {
    const char *line = (const char *)c->input, *end = line + length - 2;
    while (line < end) {
        const char *next = memmem(line, (size_t)(end - line) + 2, "\r\n", 2);
        if (next == NULL) return false;
        if (line_says(line, (size_t)(next - line), name, value)) return true;
        line = next + 2;
    }
    return false;
}

// Sends a GET; `headers` are whole lines.
void ask(struct run *run, struct connection *c, const char *path, const char *headers) {
    char request[1024];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%u\r\n%s\r\n", path,
                          run->host, run->port, headers);
    if (length >= (int)sizeof request) fatal("too long a path", path);
    put(run, c, request, (size_t)length);
}
