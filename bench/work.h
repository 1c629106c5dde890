/* One workload: what main.c parsed, and the functions that run it. Each prints its results with
 * bench_emit() and dies if the data that it left, or read, is not what it should be. */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stddef.h>
#include <stdint.h>

struct work {
    const char *name;
    const char *dir;  /* the store's directory: fresh for puts, loaded for reads */
    uint64_t records; /* at most so many in all (puts), or so many are in the store (reads) */
    double seconds;   /* at most so long; 0: no limit */
    size_t batch;     /* records a transaction */
    size_t writers;   /* threads or processes */
    size_t value_len;
};

/* puts.c: durable writes, from one thread, several threads, several processes. */
void puts_single(const struct work *work);
void puts_threads(const struct work *work);
void puts_processes(const struct work *work);

/* Reopen the store and check that exactly the acknowledged records are there: `acked[w]` of each
 * writer. */
void puts_verify(const struct work *work, const uint64_t *acked);

/* reads.c: on a store loaded with `records` records. */
void reads_snapshot(const struct work *work); /* get, all within one snapshot */
void reads_fresh(const struct work *work);    /* get, each seeing the newest commit */
void reads_scan(const struct work *work);
void reads_open(const struct work *work);
void reads_beside(const struct work *work); /* a reader beside a writer, pinned to two cores */

/* values.c: large values written durably, then read. Prints put… and get…. */
void values_run(const struct work *work);

#endif
