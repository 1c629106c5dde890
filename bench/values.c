/* Large values: written durably one by one, then, after a reopening, read at random. The limits
 * beside them come from bare.c: the device for the writes, memcpy and cipher for the reads. A read
 * is checked by length and first eight bytes in the loop; puts_verify() compares whole ones.
 */
#include "bench.h"
#include "peer.h"
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t values_put(const struct work *work, char *value, double *out_took)
{
    struct peer *peer = peer_open(work->dir);
    struct peer_session *session = peer_join(peer);
    char key[BENCH_KEY];
    struct peer_record record = {key, sizeof(key), value, work->value_len};
    uint64_t acked = 0;
    double took = 0;

    while (acked < work->records && took < work->seconds) {
        double start;

        bench_key(acked, key);
        bench_value(acked, value, work->value_len); /* not timed: a megabyte takes 0.1 ms to make */
        start = bench_now();
        peer_write(session, &record, 1);
        took += bench_now() - start;
        acked++;
    }
    peer_leave(&session);
    peer_close(&peer);
    *out_took = took;
    return acked;
}

static double values_get(const struct work *work, uint64_t stored, char *room)
{
    struct peer *peer = peer_open(work->dir);
    struct peer_session *session = peer_join(peer);
    double start = bench_now(), took = 0;
    uint64_t done = 0, state = 31;

    while (took < work->seconds) {
        uint64_t index = bench_random(&state) % stored;
        char key[BENCH_KEY], head[8];
        size_t len = 0;

        bench_key(index, key);
        bench_value(index, head, sizeof(head));
        BENCH_MUST(peer_get(session, key, sizeof(key), room, work->value_len, &len), "get: value missing");
        BENCH_MUST(len == work->value_len && memcmp(room, head, sizeof(head)) == 0, "get: value wrong");
        done++;
        took = bench_now() - start;
    }
    peer_leave(&session);
    peer_close(&peer);
    return (double)done / took;
}

void values_run(const struct work *work)
{
    const char *size = work->name + strlen("value"); /* "value4k" → put4k and get4k */
    char *room = bench_alloc(work->value_len), label[32];
    double took, rate;
    uint64_t acked = values_put(work, room, &took);

    puts_verify(work, &acked);
    rate = values_get(work, acked, room);
    snprintf(label, sizeof(label), "put%s", size);
    bench_emit(label, (double)acked / took, "op/s");
    snprintf(label, sizeof(label), "get%s", size);
    bench_emit(label, rate, "op/s");
    free(room);
}
