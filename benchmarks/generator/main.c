// SPDX-License-Identifier: Apache-2.0
// Load over many WebSockets or event streams at once, in C, since what Debian, PyPI and npm have
// for it is written in Python or JavaScript and costs as much per message as the servers measured.
//
//   generator echo|idle|fanout|events HOST PORT PATH CONNECTIONS SECONDS SIZE
//
// Runs in: one process of one thread, started by sockets.py. Opens all connections (idle: waits
// SECONDS then), prints `ready`, waits for a line; then loads the server for SECONDS (idle: asks
// each socket once), prints one line of JSON, and holds the connections until its input ends.
// SIZE is that of a message, or of an event, in bytes. Latencies are those from sending to the
// answer (echo, idle), from publishing to each delivery (fanout), from the time that the server
// wrote into an event to its arrival (events).
#include "generator.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static const uint64_t SECOND = 1000000000u;

void fatal(const char *what, const char *value) {
    fprintf(stderr, "generator: %s: %s\n", what, value);
    exit(2);
}

static double number(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most)) fatal(name, text);
    return value;
}

static void read_arguments(struct run *run, char **argv) {
    struct in_addr address;
    run->scenario = scenario_named(argv[1]);
    run->host = argv[2];
    if (inet_pton(AF_INET, run->host, &address) != 1) fatal("not an IPv4 address", run->host);
    run->port = (uint16_t)number("port", argv[3], 1, 65535);
    run->path = argv[4];
    run->count = (size_t)number("connections", argv[5], 1, 200000);
    run->seconds = number("seconds", argv[6], 0.1, 3600);
    run->size = (size_t)number("size", argv[7], 64, MAX_MESSAGE);
}

static void prepare(struct run *run) {
    struct rlimit files;
    size_t needed = run->count + run->scenario->publishers + 16;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < needed) fatal("too many for the hard limit of `ulimit -n`", "connections");
    run->connections = calloc(run->count + run->scenario->publishers, sizeof *run->connections);
    run->poll = epoll_create1(EPOLL_CLOEXEC);
    if (run->connections == NULL || run->poll < 0) fatal("no memory for", "connections");
}

static void wait_for(struct run *run, double seconds) {
    uint64_t deadline = now() + (uint64_t)(seconds * (double)SECOND);
    while (turn(run, deadline)) continue;
}

static void wait_for_line(void) {
    int byte;
    do byte = getchar();
    while (byte != '\n' && byte != EOF);
    if (byte == EOF) exit(0); // whoever started this is gone
}

// What was asked for last may still arrive.
static void drain(struct run *run) {
    uint64_t deadline = now() + PATIENCE * SECOND;
    run->phase = DRAINING;
    while (run->awaited > 0 && turn(run, deadline)) continue;
    run->troubles[MISSING] += run->awaited;
}

static void report(const struct run *run, double seconds, double processor) {
    const uint64_t *troubles = run->troubles;
    printf("{\"operations\": %llu, \"seconds\": %.6f, \"processor_seconds\": %.6f, "
           "\"latency_p50\": %.6f, \"latency_p99\": %.6f, "
           "\"errors\": {\"connect\": %llu, \"handshake\": %llu, \"protocol\": %llu, "
           "\"mismatch\": %llu, \"closed\": %llu, \"missing\": %llu}}\n",
           (unsigned long long)run->operations, seconds, processor,
           quantile(&run->latencies, 0.50) / 1e6, quantile(&run->latencies, 0.99) / 1e6,
           (unsigned long long)troubles[CONNECT], (unsigned long long)troubles[HANDSHAKE],
           (unsigned long long)troubles[PROTOCOL], (unsigned long long)troubles[MISMATCH],
           (unsigned long long)troubles[CLOSED], (unsigned long long)troubles[MISSING]);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static struct run run;
    if (argc != 8) fatal("usage", "SCENARIO HOST PORT PATH CONNECTIONS SECONDS SIZE");
    read_arguments(&run, argv);
    prepare(&run);
    open_all(&run);
    if (run.scenario->holds) wait_for(&run, run.seconds);
    puts("ready");
    fflush(stdout);
    wait_for_line();
    uint64_t began = now();
    double processor = processor_seconds();
    run.phase = RUNNING;
    run.scenario->begin(&run);
    if (!run.scenario->holds) wait_for(&run, run.seconds);
    drain(&run);
    report(&run, (double)(now() - began) / (double)SECOND, processor_seconds() - processor);
    wait_for_line();
    return 0;
}
