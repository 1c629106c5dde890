/* Durable writes: one thread with batches of any size, many threads, many processes.
 *
 * A run ends after `records` records or `seconds`, whichever is first: slow systems stop early,
 * with a smaller and therefore cheaper store, which is to their advantage. What was acknowledged is
 * counted by the writers themselves; afterwards the store is closed, opened again and must hold
 * exactly that.
 *
 * Processes open the store themselves, after the fork; they share one page with a barrier and their
 * counters.
 */
#include "bench.h"
#include "peer.h"
#include "work.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PUTS_MAX_WRITERS = 64, PUTS_SAMPLES = 1000 };

struct puts_shared {
    pthread_barrier_t ready; /* all writers and the parent */
    double ended[PUTS_MAX_WRITERS];
    uint64_t acked[PUTS_MAX_WRITERS];
};

struct puts_writer {
    const struct work *work;
    struct peer *peer;
    struct puts_shared *shared;
    size_t number;
};

struct puts_buffer {
    char *keys, *values;
    struct peer_record *records;
};

static struct puts_buffer puts_buffer_new(const struct work *work)
{
    struct puts_buffer buffer = {
        .keys = bench_alloc(work->batch * BENCH_KEY),
        .values = bench_alloc(work->batch * work->value_len),
        .records = bench_alloc(work->batch * sizeof(struct peer_record)),
    };

    for (size_t i = 0; i < work->batch; i++)
        buffer.records[i] =
            (struct peer_record){buffer.keys + i * BENCH_KEY, BENCH_KEY, buffer.values + i * work->value_len, work->value_len};
    return buffer;
}

static void puts_buffer_free(struct puts_buffer *buffer)
{
    free(buffer->keys);
    free(buffer->values);
    free(buffer->records);
}

/* Write records first, first + 1, …, at most `count`, until the time is over. Returns how many are
 * durable. */
static uint64_t puts_loop(struct peer_session *session, const struct work *work, uint64_t first, uint64_t count)
{
    struct puts_buffer buffer = puts_buffer_new(work);
    double deadline = work->seconds > 0 ? bench_now() + work->seconds : 0;
    uint64_t done = 0;

    while (done < count && (deadline <= 0 || bench_now() < deadline)) {
        size_t n = count - done < work->batch ? (size_t)(count - done) : work->batch;

        for (size_t i = 0; i < n; i++) {
            bench_key(first + done + i, buffer.keys + i * BENCH_KEY);
            bench_value(first + done + i, buffer.values + i * work->value_len, work->value_len);
        }
        peer_write(session, buffer.records, n);
        done += n;
    }
    puts_buffer_free(&buffer);
    return done;
}

static void puts_count(void *ctx, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    ++*(uint64_t *)ctx;
}

static void puts_check(struct peer_session *session, uint64_t index, size_t value_len, char *room)
{
    char key[BENCH_KEY];
    size_t len = 0;

    bench_key(index, key);
    BENCH_MUST(peer_get(session, key, sizeof(key), room, value_len, &len), "verify: record %llu is missing",
               (unsigned long long)index);
    BENCH_MUST(bench_is_value(index, room, len, value_len), "verify: record %llu has a wrong value", (unsigned long long)index);
}

void puts_verify(const struct work *work, const uint64_t *acked)
{
    struct peer *peer = peer_open(work->dir);
    struct peer_session *session = peer_join(peer);
    uint64_t expected = 0, found = 0, state = 42;
    char *room = bench_alloc(work->value_len);

    for (size_t w = 0; w < work->writers; w++)
        expected += acked[w];
    peer_scan(session, puts_count, &found);
    BENCH_MUST(found == expected, "verify: %llu records acknowledged, %llu found", (unsigned long long)expected,
               (unsigned long long)found);
    for (size_t i = 0; i < PUTS_SAMPLES; i++) {
        size_t w = (size_t)(bench_random(&state) % work->writers);

        if (acked[w] > 0) {
            puts_check(session, w * BENCH_RANGE + bench_random(&state) % acked[w], work->value_len, room);
            puts_check(session, w * BENCH_RANGE + acked[w] - 1, work->value_len, room);
        }
    }
    free(room);
    peer_leave(&session);
    peer_close(&peer);
}

void puts_single(const struct work *work)
{
    struct peer *peer = peer_open(work->dir);
    struct peer_session *session = peer_join(peer);
    double start = bench_now();
    uint64_t acked = puts_loop(session, work, 0, work->records);
    double took = bench_now() - start;

    peer_leave(&session);
    peer_close(&peer);
    puts_verify(work, &acked);
    bench_emit(work->name, (double)acked / took, "op/s");
}

static struct puts_shared *puts_shared_new(size_t writers)
{
    struct puts_shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t attr;

    BENCH_MUST(shared != MAP_FAILED, "mmap failed");
    BENCH_MUST(writers <= PUTS_MAX_WRITERS, "at most %d writers", PUTS_MAX_WRITERS);
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->ready, &attr, (unsigned)writers + 1);
    return shared;
}

static void puts_writer_run(struct puts_writer *writer)
{
    const struct work *work = writer->work;
    struct puts_shared *shared = writer->shared;
    struct peer_session *session = peer_join(writer->peer);

    pthread_barrier_wait(&shared->ready);
    shared->acked[writer->number] = puts_loop(session, work, writer->number * BENCH_RANGE, work->records / work->writers);
    shared->ended[writer->number] = bench_now();
    peer_leave(&session);
}

static void *puts_thread(void *arg)
{
    puts_writer_run(arg);
    return NULL;
}

/* From the start to the end of the last writer. */
static void puts_report(const struct work *work, const struct puts_shared *shared, double start)
{
    double end = start;
    uint64_t acked = 0;

    for (size_t w = 0; w < work->writers; w++) {
        end = shared->ended[w] > end ? shared->ended[w] : end;
        acked += shared->acked[w];
    }
    puts_verify(work, shared->acked);
    bench_emit(work->name, (double)acked / (end - start), "op/s");
}

void puts_threads(const struct work *work)
{
    struct puts_shared *shared = puts_shared_new(work->writers);
    struct puts_writer writers[PUTS_MAX_WRITERS];
    pthread_t threads[PUTS_MAX_WRITERS];
    struct peer *peer = peer_open(work->dir);
    double start;

    for (size_t w = 0; w < work->writers; w++) {
        writers[w] = (struct puts_writer){work, peer, shared, w};
        BENCH_MUST(pthread_create(&threads[w], NULL, puts_thread, &writers[w]) == 0, "no thread");
    }
    pthread_barrier_wait(&shared->ready);
    start = bench_now();
    for (size_t w = 0; w < work->writers; w++)
        pthread_join(threads[w], NULL);
    peer_close(&peer);
    puts_report(work, shared, start);
}

static _Noreturn void puts_child(struct puts_writer *writer)
{
    writer->peer = peer_open(writer->work->dir);
    puts_writer_run(writer);
    peer_close(&writer->peer);
    _exit(0);
}

void puts_processes(const struct work *work)
{
    struct puts_shared *shared = puts_shared_new(work->writers);
    struct peer *peer = peer_open(work->dir); /* makes the store; closed again before the fork */
    pid_t children[PUTS_MAX_WRITERS];
    double start;

    peer_close(&peer);
    for (size_t w = 0; w < work->writers; w++) {
        struct puts_writer writer = {work, NULL, shared, w};

        children[w] = fork();
        BENCH_MUST(children[w] >= 0, "fork failed");
        if (children[w] == 0)
            puts_child(&writer);
    }
    pthread_barrier_wait(&shared->ready);
    start = bench_now();
    for (size_t w = 0; w < work->writers; w++) {
        int status = 1;

        BENCH_MUST(waitpid(children[w], &status, 0) == children[w] && status == 0, "writer process %zu failed", w);
    }
    puts_report(work, shared, start);
}
