/* tree_bench.c: what the tree costs: bytes a key, nanoseconds an operation.
 *
 *     tree_bench [keys]      (default 1,000,000; keys of 32 random bytes, payloads of 20)
 *
 * Build with the same flags as the library; one thread, one machine, so compare runs, not machines.
 */
#include "base/bytes.h"
#include "base/os.h"
#include "engine/tree.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEY = 32, PAYLOAD = 20, BATCH = 16 };

static uint64_t bench_state = 88172645463325252u;

static volatile uint64_t bench_zero; /* what the compiler must not know to be 0 */

static uint64_t bench_random(void)
{
    bench_state ^= bench_state << 13;
    bench_state ^= bench_state >> 7;
    bench_state ^= bench_state << 17;
    return bench_state * UINT64_C(0x2545f4914f6cdd1d);
}

static double bench_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void bench_line(const char *what, double since, size_t n)
{
    printf("%-52s %8.1f ns\n", what, (bench_now() - since) / (double)n);
}

static void bench_memory(const char *what, const struct tree *t, size_t n)
{
    printf("%-52s %8.1f bytes a key\n", what, (double)tree_memory(t) / (double)n);
}

static void bench_ok(int rc)
{
    if (rc) {
        fprintf(stderr, "tree_bench: %d\n", rc);
        exit(1);
    }
}

static struct tree *bench_tree(void)
{
    struct tree *t = NULL;
    bench_ok(tree_new(&t));
    return t;
}

static void bench_show(struct tree *t)
{
    const uint64_t aux[TREE_AUX] = {0};
    static uint64_t tag;
    bench_ok(tree_capture(t, ++tag, aux));
    tree_publish(t, tag);
}

static void bench_fill(struct tree *t, const uint8_t *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bench_ok(tree_put(t, keys + i * KEY, KEY, keys + i * KEY, PAYLOAD, NULL, NULL));
}

/* One round of lookups, the keys one after another in memory, so that only the tree misses the
 * caches; with wait, each key depends on the payload found before. */
static double bench_find_round(const struct tree_root *root, const uint8_t *keys, size_t n, bool wait)
{
    uint64_t sum = 0;
    double since = bench_now();
    for (size_t i = 0; i + 1 < n; i++) {
        size_t len, at = i + (wait ? sum & bench_zero : 0);
        const uint8_t *p = tree_find(root, keys + at * KEY, KEY, &len);
        assert(p && len == PAYLOAD);
        sum += p[0];
    }
    return (bench_now() - since) / (double)n;
}

static void bench_find(const struct tree_root *root, const uint8_t *keys, size_t n)
{
    for (int wait = 0; wait < 2; wait++) {
        double best = bench_find_round(root, keys, n, wait);
        for (int round = 0; round < 4; round++) {
            double ns = bench_find_round(root, keys, n, wait);
            best = ns < best ? ns : best;
        }
        printf("%-52s %8.1f ns\n", wait ? "find, random, each waiting for the one before" : "find, random", best);
    }
}

/* The keys in another order than that of the inserts. */
static void bench_shuffle(uint8_t *keys, size_t n)
{
    for (size_t i = n - 1; i > 0; i--) {
        uint8_t tmp[KEY], *a = keys + i * KEY, *b = keys + bench_random() % i * KEY;
        memcpy(tmp, a, KEY);
        memcpy(a, b, KEY);
        memcpy(b, tmp, KEY);
    }
}

static void bench_scan(const struct tree_root *root, size_t n)
{
    static struct tree_cursor c;
    size_t seen = 0;
    tree_cursor_init(&c, root);
    double since = bench_now();
    for (bool on = tree_cursor_seek(&c, "", 0); on; on = tree_cursor_next(&c))
        seen++;
    bench_line("scan forward, a step", since, seen);
    assert(seen == n);
    since = bench_now();
    for (bool on = tree_cursor_seek_last(&c, NULL, 0); on; on = tree_cursor_prev(&c))
        seen--;
    bench_line("scan backward, a step", since, n);
    assert(seen == 0);
}

static void bench_snap(struct tree *t)
{
    size_t n = 10000000;
    double since = bench_now();
    for (size_t i = 0; i < n; i++) {
        struct tree_snap snap;
        bench_ok(tree_snap_take(t, &snap));
        tree_snap_drop(t, &snap);
    }
    bench_line("snapshot taken and dropped", since, n);
}

static void bench_updates(struct tree *t, const uint8_t *keys, size_t n, size_t batch)
{
    char what[64];
    size_t ops = 200000;
    double since = bench_now();
    for (size_t i = 0; i < ops; i++) {
        const uint8_t *key = keys + bench_random() % n * KEY;
        bench_ok(tree_put(t, key, KEY, key, PAYLOAD, NULL, NULL));
        if (i % batch == batch - 1)
            bench_show(t);
    }
    snprintf(what, sizeof what, "update, random, published in batches of %zu", batch);
    bench_line(what, since, ops);
}

static void bench_drain(struct tree *t, const uint8_t *keys, size_t n)
{
    double since = bench_now();
    for (size_t i = 0; i < n; i++)
        bench_ok(tree_delete(t, keys + i * KEY, KEY, NULL, NULL));
    bench_line("delete, random, until empty", since, n);
    bench_show(t);
    tree_reclaim(t);
    printf("%-52s %8" PRIu64 " bytes\n", "left", tree_memory(t));
}

/* Keys as queues and tables have them: a bucket's number, then a counter. */
static void bench_ascending(size_t n, size_t streams)
{
    struct tree *t = bench_tree();
    double since = bench_now();
    for (size_t i = 0; i < n; i++) {
        uint8_t key[16] = {0};
        bytes_put64be(key, i % streams);
        bytes_put64be(key + 8, i / streams);
        bench_ok(tree_put(t, key, sizeof key, key, PAYLOAD - 4, NULL, NULL));
    }
    char what[64];
    snprintf(what, sizeof what, "insert, ascending 16-byte keys, %zu streams", streams);
    bench_line(what, since, n);
    bench_memory("  memory", t, n);
    tree_free(&t);
}

static void bench_load(const struct tree_root *root, size_t n)
{
    static struct tree_cursor c;
    struct tree *t = bench_tree();
    tree_cursor_init(&c, root);
    double since = bench_now();
    for (bool on = tree_cursor_seek(&c, "", 0); on; on = tree_cursor_next(&c))
        bench_ok(tree_load_add(t, c.key, c.key_len, c.payload, c.payload_len));
    bench_ok(tree_load_end(t));
    bench_line("load, ascending (scan of the source included)", since, n);
    bench_memory("  memory", t, n);
    bench_show(t);
    struct tree_snap snap;
    bench_ok(tree_snap_take(t, &snap));
    bench_scan(&snap.root, n);
    tree_snap_drop(t, &snap);
    tree_free(&t);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    uint8_t *keys = os_alloc(n * KEY);
    if (!keys || n == 0)
        return 1;
    for (size_t i = 0; i < n * KEY / 8; i++) {
        uint64_t r = bench_random();
        memcpy(keys + i * 8, &r, 8);
    }
    struct tree *t = bench_tree();
    double since = bench_now();
    bench_fill(t, keys, n);
    bench_line("insert, random 32-byte keys", since, n);
    bench_memory("  memory", t, n);
    bench_show(t);
    bench_shuffle(keys, n);
    struct tree_snap snap;
    bench_ok(tree_snap_take(t, &snap));
    bench_find(&snap.root, keys, n);
    bench_scan(&snap.root, n);
    bench_load(&snap.root, n);
    tree_snap_drop(t, &snap);
    bench_snap(t);
    bench_updates(t, keys, n, 1);
    bench_updates(t, keys, n, BATCH);
    bench_updates(t, keys, n, 1000);
    bench_memory("  memory after it", t, n);
    bench_drain(t, keys, n);
    tree_free(&t);
    bench_ascending(n, 1);
    bench_ascending(n, 100);
    os_free(keys);
    return 0;
}
