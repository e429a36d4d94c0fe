// SPDX-License-Identifier: Apache-2.0
// Time, processor time, and the distribution of latencies.
#include "generator.h"

#include <sys/resource.h>
#include <time.h>

// Nanoseconds of the clock that Python's time.monotonic_ns reads, too.
uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// User and kernel time of this process so far.
double processor_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static size_t bucket(uint64_t value) {
    if (value < 16) return value;
    int doubling = 63 - __builtin_clzll(value);
    return (size_t)(doubling - 3) * 16 + (value >> (doubling - 4) & 15);
}

// The smallest value that is above those of the bucket.
static double upper(size_t at) {
    if (at < 16) return (double)(at + 1);
    return (double)(17 + at % 16) * (double)(1ull << (at / 16 - 1));
}

void record(struct histogram *histogram, uint64_t nanoseconds) {
    histogram->counts[bucket(nanoseconds)]++;
    histogram->total++;
}

// The latency in ns that `part` of all stay below; 0 when there are none.
double quantile(const struct histogram *histogram, double part) {
    double wanted = part * (double)histogram->total;
    uint64_t seen = 0;
    for (size_t at = 0; at < sizeof histogram->counts / sizeof *histogram->counts; at++) {
        seen += histogram->counts[at];
        if (seen > 0 && (double)seen >= wanted) return upper(at);
    }
    return 0;
}
