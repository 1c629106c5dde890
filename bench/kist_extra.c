/* What only kist is asked: memory of the index, opening by snapshot and by replay, a tiny store,
 * the program as a process, and the pair of anystore (store one object, load it back).
 *
 * The command line is that of main.c; the program `kist` is looked for in $KIST_BENCH_PROGRAM.
 * Snapshots are never needed for correctness (docs/format.md), so replay is measured on a store
 * whose .idx files were removed. It is made with KIST_SYNC_NONE, as a million durable single puts
 * would take minutes, and synced at the end: the frames are the same.
 */
#include "bench.h"
#include "process.h"

#include <sys/stat.h>
#include <glob.h>
#include <kist.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXTRA_TIMES = 5, EXTRA_TINY = 500, EXTRA_PAIRS = 2000, EXTRA_KEY_BUFFER = 32 };

struct extra_job {
    const char *name, *dir;
    uint64_t keys;
};

static unsigned char extra_key[EXTRA_KEY_BUFFER];

static void extra_must(int rc, const char *what)
{
    BENCH_MUST(rc == 0, "%s: %s: %s", what, kist_error_name(rc), kist_strerror(rc));
}

static struct kist_store *extra_open(const char *path, enum kist_sync sync, enum kist_engine engine)
{
    struct kist_detail detail = {""};
    struct kist_options options = {.size = sizeof(options),
                                   .sync = sync,
                                   .engine = engine,
                                   .key = {.kind = KIST_SECRET_KEY, .ptr = extra_key, .len = sizeof(extra_key)},
                                   .detail = &detail};
    struct kist_store *store = NULL;
    int rc = kist_open(path, &options, &store);

    BENCH_MUST(rc == 0, "kist_open: %s (%s)", kist_strerror(rc), detail.text);
    return store;
}

static struct kist_bucket *extra_bucket(struct kist_store *store)
{
    struct kist_bucket *bucket = NULL;

    extra_must(kist_bucket_open(store, "default", &bucket), "kist_bucket_open");
    return bucket;
}

static void extra_put(struct kist_bucket *bucket, uint64_t index)
{
    char key[BENCH_KEY], value[BENCH_VALUE];
    struct kist_bytes name = {key, sizeof(key)}, bytes = {value, sizeof(value)};

    bench_key(index, key);
    bench_value(index, value, sizeof(value));
    extra_must(kist_put(bucket, name, bytes, NULL, NULL), "kist_put");
}

static void extra_check(struct kist_bucket *bucket, uint64_t index)
{
    char key[BENCH_KEY];
    struct kist_bytes name = {key, sizeof(key)};
    struct kist_value value = {0};

    bench_key(index, key);
    extra_must(kist_get(bucket, name, &value), "kist_get");
    BENCH_MUST(bench_is_value(index, value.data, value.len, BENCH_VALUE), "a wrong value");
    kist_value_free(&value);
}

/* Open the store and get one record; in milliseconds. */
static double extra_open_ms(const char *dir, uint64_t index, struct kist_stat *out_stat)
{
    double start = bench_now(), took;
    struct kist_store *store = extra_open(dir, KIST_SYNC_FULL, KIST_ENGINE_LOG);
    struct kist_bucket *bucket = extra_bucket(store);

    extra_check(bucket, index);
    took = (bench_now() - start) * 1e3;
    if (out_stat) {
        out_stat->size = sizeof(*out_stat);
        extra_must(kist_stat(store, out_stat), "kist_stat");
    }
    kist_bucket_close(&bucket);
    kist_close(&store);
    return took;
}

static void extra_index(const struct extra_job *job)
{
    struct kist_stat stat = {0};

    (void)extra_open_ms(job->dir, 0, &stat);
    BENCH_MUST(stat.keys == job->keys, "%llu keys", (unsigned long long)stat.keys);
    bench_emit("index-bytes", (double)stat.index_bytes / (double)stat.keys, "bytes");
}

/* The store may still owe a snapshot: compaction on demand writes it. */
static void extra_snapshot(const struct extra_job *job)
{
    struct kist_stat stat = {0};
    double times[EXTRA_TIMES];

    (void)extra_open_ms(job->dir, 0, &stat);
    if (!stat.snapshot) {
        struct kist_store *store = extra_open(job->dir, KIST_SYNC_FULL, KIST_ENGINE_LOG);

        extra_must(kist_compact(store, NULL, NULL), "kist_compact");
        kist_close(&store);
    }
    for (size_t i = 0; i < EXTRA_TIMES; i++) {
        times[i] = extra_open_ms(job->dir, i, &stat);
        BENCH_MUST(stat.snapshot, "open-snapshot: the store was opened without a snapshot");
        BENCH_MUST(stat.keys == job->keys, "open-snapshot: %llu keys", (unsigned long long)stat.keys);
    }
    bench_emit(job->name, bench_median(times, EXTRA_TIMES), "ms");
}

static void extra_forget(const char *dir)
{
    char pattern[4096];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "%s/*.idx", dir);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            BENCH_MUST(unlink(found.gl_pathv[i]) == 0, "cannot remove %s", found.gl_pathv[i]);
        globfree(&found);
    }
}

static void extra_replay(const struct extra_job *job)
{
    struct kist_store *store = extra_open(job->dir, KIST_SYNC_NONE, KIST_ENGINE_LOG);
    struct kist_bucket *bucket = extra_bucket(store);
    struct kist_stat stat = {0};
    double times[EXTRA_TIMES];

    for (uint64_t i = 0; i < job->keys; i++)
        extra_put(bucket, i);
    extra_must(kist_sync(store), "kist_sync");
    kist_bucket_close(&bucket);
    kist_close(&store);
    for (size_t i = 0; i < EXTRA_TIMES; i++) {
        extra_forget(job->dir);
        times[i] = extra_open_ms(job->dir, i, &stat);
        BENCH_MUST(!stat.snapshot, "open-replay: there was a snapshot");
        BENCH_MUST(stat.keys == job->keys, "open-replay: %llu keys", (unsigned long long)stat.keys);
    }
    bench_emit(job->name, bench_median(times, EXTRA_TIMES), "ms");
}

static void extra_fill_tiny(const char *dir)
{
    struct kist_store *store = extra_open(dir, KIST_SYNC_FULL, KIST_ENGINE_LOG);
    struct kist_bucket *bucket = extra_bucket(store);

    for (uint64_t i = 0; i < 10; i++)
        extra_put(bucket, i);
    kist_bucket_close(&bucket);
    kist_close(&store);
}

static void extra_tiny(const struct extra_job *job)
{
    double times[EXTRA_TINY];

    extra_fill_tiny(job->dir);
    for (size_t i = 0; i < EXTRA_TINY; i++)
        times[i] = extra_open_ms(job->dir, i % 10, NULL);
    bench_emit(job->name, bench_median(times, EXTRA_TINY), "ms");
}

/* The key file lies beside the store, not in it. */
static void extra_process(const struct extra_job *job)
{
    char *program = getenv("KIST_BENCH_PROGRAM"), store[4096], key_file[4200], name[BENCH_KEY + 1];
    char flag_store[] = "-s", flag_key[] = "--key-file", get[] = "get";
    char *argv[] = {program, flag_store, store, flag_key, key_file, get, name, NULL}, *environment[] = {NULL};
    FILE *file;

    BENCH_MUST(program, "KIST_BENCH_PROGRAM does not name the program kist");
    snprintf(store, sizeof(store), "%s", job->dir);
    snprintf(key_file, sizeof(key_file), "%s.key", job->dir);
    (void)umask(077); /* as `kist init --new-key` would make it */
    file = fopen(key_file, "wb");
    BENCH_MUST(file && fwrite(extra_key, sizeof(extra_key), 1, file) == 1 && fclose(file) == 0, "cannot write %s", key_file);
    extra_fill_tiny(job->dir);
    bench_key(3, name);
    name[BENCH_KEY] = '\0';
    bench_emit(job->name, process_ms(argv, environment), "ms");
    unlink(key_file);
}

/* Stash an object of 100 bytes and get it back; the median, in seconds. */
static double extra_pair(struct kist_bucket *bucket)
{
    static double times[EXTRA_PAIRS];
    char object[BENCH_VALUE];
    struct kist_bytes nothing = {NULL, 0}, bytes = {object, sizeof(object)};

    for (size_t i = 0; i < EXTRA_PAIRS; i++) {
        struct kist_value value = {0};
        double start;

        bench_value(i, object, sizeof(object));
        start = bench_now();
        extra_must(kist_stash(bucket, KIST_STR("object"), bytes, KIST_RAW, NULL, NULL, NULL), "kist_stash");
        extra_must(kist_unstash(bucket, KIST_STR("object"), NULL, NULL, NULL, nothing, &value), "kist_unstash");
        times[i] = bench_now() - start;
        BENCH_MUST(bench_is_value(i, value.data, value.len, BENCH_VALUE), "pair: a wrong value");
        kist_value_free(&value);
    }
    return bench_median(times, EXTRA_PAIRS);
}

static void extra_pair_persisted(const struct extra_job *job)
{
    struct kist_store *store = extra_open(job->dir, KIST_SYNC_FULL, KIST_ENGINE_LOG);
    struct kist_bucket *bucket = extra_bucket(store);

    bench_emit(job->name, extra_pair(bucket) * 1e3, "ms");
    kist_bucket_close(&bucket);
    kist_close(&store);
}

static void extra_pair_memory(const struct extra_job *job)
{
    struct kist_store *store = extra_open(":memory:", KIST_SYNC_FULL, KIST_ENGINE_MEMORY);
    struct kist_bucket *bucket = extra_bucket(store);

    bench_emit(job->name, extra_pair(bucket) * 1e6, "us");
    kist_bucket_close(&bucket);
    kist_close(&store);
}

static const struct {
    const char *name;
    void (*run)(const struct extra_job *job);
    bool loaded;
} extra_rows[] = {
    {"index-bytes", extra_index, true},        {"open-snapshot", extra_snapshot, true},
    {"open-replay", extra_replay, false},      {"tiny", extra_tiny, false},
    {"process", extra_process, false},         {"pair-persisted", extra_pair_persisted, false},
    {"pair-memory", extra_pair_memory, false},
};

enum { EXTRA_ROWS = sizeof(extra_rows) / sizeof(extra_rows[0]) };

int main(int argc, char **argv)
{
    struct extra_job job = {NULL, NULL, 1000000};

    bench_set_system("kist");
    bench_value(1, extra_key, sizeof(extra_key));
    if (argc == 2 && strcmp(argv[1], "info") == 0)
        return 0;
    for (size_t i = 0; argc == 2 && strcmp(argv[1], "list") == 0 && i < EXTRA_ROWS; i++)
        printf("%s %s\n", extra_rows[i].name, extra_rows[i].loaded ? "loaded" : "fresh");
    for (int i = 3; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--keys") == 0)
            job.keys = strtoull(argv[i + 1], NULL, 10);
    for (size_t i = 0; argc >= 3 && i < EXTRA_ROWS; i++)
        if (strcmp(argv[1], extra_rows[i].name) == 0) {
            job.name = argv[1];
            job.dir = argv[2];
            extra_rows[i].run(&job);
            return 0;
        }
    return argc == 2 ? 0 : 2;
}
