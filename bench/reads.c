/* Reads on a store loaded with a known number of records: get, scan, open, and a reader beside a
 * writer.
 *
 * The store is read once from end to end before gets are timed, so that every system has in its
 * cache what it keeps there. Each value read is checked: its length and its first eight bytes in
 * the loop (cheap, the same for all), whole ones in a sample. Time is looked at every 64 gets.
 *
 * Beside a writer: reader on core 0, writer on core 1, slices with and without the writer in turn,
 * so that a change in the machine's pace hits both sums. The writer overwrites records with what
 * they hold, one durable put after the other; the store stays as loaded for the workloads that
 * follow.
 */
#include "bench.h"
#include "peer.h"
#include "work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { READS_BURST = 64, READS_SLICES = 4, READS_OPENS = 5 };

struct reads_tally {
    uint64_t records, bytes;
    char last[BENCH_KEY];
};

struct reads_beside {
    const struct work *work;
    struct peer *peer;
    atomic_int phase; /* 0 the writer rests, 1 it writes, 2 it ends */
    atomic_uint_fast64_t written;
};

static void reads_visit(void *ctx, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct reads_tally *tally = ctx;
    unsigned char first = 0, last = 0;

    BENCH_MUST(key_len == BENCH_KEY && value_len > 0, "scan: a record of %zu + %zu bytes", key_len, value_len);
    BENCH_MUST(memcmp(tally->last, key, BENCH_KEY) < 0, "scan: keys out of order");
    memcpy(tally->last, key, BENCH_KEY);
    memcpy(&first, value, 1);
    memcpy(&last, (const char *)value + value_len - 1, 1);
    tally->records++;
    tally->bytes += value_len + (first == last);
}

/* One scan, checked; returns the records a second. */
static double reads_pass(struct peer_session *session, const struct work *work)
{
    struct reads_tally tally = {0};
    double start = bench_now();

    peer_scan(session, reads_visit, &tally);
    BENCH_MUST(tally.records == work->records, "scan: %llu records, not %llu", (unsigned long long)tally.records,
               (unsigned long long)work->records);
    return (double)tally.records / (bench_now() - start);
}

static void reads_one(struct peer_session *session, uint64_t index, bool whole)
{
    char key[BENCH_KEY], value[BENCH_VALUE], head[8];
    size_t len = 0;

    bench_key(index, key);
    bench_value(index, head, sizeof(head));
    BENCH_MUST(peer_get(session, key, sizeof(key), value, sizeof(value), &len), "get: record %llu is missing",
               (unsigned long long)index);
    BENCH_MUST(len == BENCH_VALUE && memcmp(value, head, sizeof(head)) == 0, "get: record %llu is wrong",
               (unsigned long long)index);
    BENCH_MUST(!whole || bench_is_value(index, value, len, BENCH_VALUE), "get: record %llu is wrong", (unsigned long long)index);
}

/* Random gets for `seconds`; returns how many. */
static uint64_t reads_loop(struct peer_session *session, const struct work *work, double seconds, uint64_t *state)
{
    double deadline = bench_now() + seconds;
    uint64_t done = 0;

    do {
        for (int i = 0; i < READS_BURST; i++)
            reads_one(session, bench_random(state) % work->records, false);
        done += READS_BURST;
    } while (bench_now() < deadline);
    return done;
}

static void reads_get(const struct work *work, bool snapshot)
{
    struct peer *peer = peer_open(work->dir);
    struct peer_session *session = peer_join(peer);
    uint64_t state = 11, done;
    double start, took;

    (void)reads_pass(session, work);
    for (int i = 0; i < 1000; i++)
        reads_one(session, bench_random(&state) % work->records, true);
    if (snapshot)
        peer_snapshot(session, true);
    start = bench_now();
    done = reads_loop(session, work, work->seconds, &state);
    took = bench_now() - start;
    if (snapshot)
        peer_snapshot(session, false);
    peer_leave(&session);
    peer_close(&peer);
    bench_emit(work->name, (double)done / took, "op/s");
}

void reads_snapshot(const struct work *work)
{
    reads_get(work, true);
}

void reads_fresh(const struct work *work)
{
    reads_get(work, false);
}

void reads_scan(const struct work *work)
{
    struct peer *peer = peer_open(work->dir);
    struct peer_session *session = peer_join(peer);
    double rates[3];

    (void)reads_pass(session, work); /* warms the caches */
    for (size_t i = 0; i < 3; i++)
        rates[i] = reads_pass(session, work);
    peer_leave(&session);
    peer_close(&peer);
    bench_emit(work->name, bench_median(rates, 3), "op/s");
}

/* From nothing to the first answer, with the files in the page cache. */
void reads_open(const struct work *work)
{
    double times[READS_OPENS];
    uint64_t state = 5;

    for (size_t i = 0; i < READS_OPENS; i++) {
        double start = bench_now();
        struct peer *peer = peer_open(work->dir);
        struct peer_session *session = peer_join(peer);

        reads_one(session, bench_random(&state) % work->records, false);
        times[i] = (bench_now() - start) * 1e3;
        peer_leave(&session);
        peer_close(&peer);
    }
    bench_emit(work->name, bench_median(times, READS_OPENS), "ms");
}

static void *reads_writer(void *arg)
{
    struct reads_beside *beside = arg;
    struct peer_session *session = peer_join(beside->peer);
    char key[BENCH_KEY], value[BENCH_VALUE];
    struct peer_record record = {key, sizeof(key), value, sizeof(value)};
    uint64_t state = 23;
    int phase;

    bench_pin(1);
    while ((phase = atomic_load(&beside->phase)) != 2) {
        uint64_t index = bench_random(&state) % beside->work->records;

        if (phase == 0) {
            usleep(1000);
            continue;
        }
        bench_key(index, key);
        bench_value(index, value, sizeof(value));
        peer_write(session, &record, 1);
        atomic_fetch_add(&beside->written, 1);
    }
    peer_leave(&session);
    return NULL;
}

void reads_beside(const struct work *work)
{
    struct reads_beside beside = {.work = work, .peer = peer_open(work->dir)};
    struct peer_session *session = peer_join(beside.peer);
    double slice = work->seconds / READS_SLICES, times[2] = {0, 0}, counts[2] = {0, 0};
    uint64_t state = 17;
    pthread_t thread;

    BENCH_MUST(pthread_create(&thread, NULL, reads_writer, &beside) == 0, "no thread");
    bench_pin(0);
    (void)reads_pass(session, work);
    for (int i = 0; i < 2 * READS_SLICES; i++) {
        double start;

        atomic_store(&beside.phase, i % 2);
        usleep(2000); /* the writer notices */
        start = bench_now();
        counts[i % 2] += (double)reads_loop(session, work, slice, &state);
        times[i % 2] += bench_now() - start;
    }
    atomic_store(&beside.phase, 2);
    pthread_join(thread, NULL);
    peer_leave(&session);
    peer_close(&beside.peer);
    BENCH_MUST(atomic_load(&beside.written) > 0, "beside: the writer wrote nothing");
    bench_emit(work->name, counts[1] / times[1] / (counts[0] / times[0]), "ratio");
    bench_emit("beside-reader", counts[1] / times[1], "op/s");
    bench_emit("beside-writer", (double)atomic_load(&beside.written) / times[1], "op/s");
}
