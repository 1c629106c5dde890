/* care.c: stat, verify, compact, rotate.
 *
 * Long work shows how far it is on a terminal and nowhere else. What verify finds goes to standard
 * error as it is found, the sums to standard output, and the exit status says whether all is well.
 */
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/session.h"

#include <stddef.h>
#include <string.h>

/* One row a number, for people and for programs alike. */
static const struct {
    const char *name;
    size_t offset;
} care_numbers[] = {
    {"revision", offsetof(struct kist_stat, revision)},     {"keys", offsetof(struct kist_stat, keys)},
    {"buckets", offsetof(struct kist_stat, buckets)},       {"disk_bytes", offsetof(struct kist_stat, disk_bytes)},
    {"live_bytes", offsetof(struct kist_stat, live_bytes)}, {"dead_bytes", offsetof(struct kist_stat, dead_bytes)},
    {"segments", offsetof(struct kist_stat, segments)},     {"index_bytes", offsetof(struct kist_stat, index_bytes)},
    {"key_max", offsetof(struct kist_stat, key_max)},       {"value_max", offsetof(struct kist_stat, value_max)},
    {"txn_max", offsetof(struct kist_stat, txn_max)},
};
#define CARE_NUMBERS (sizeof care_numbers / sizeof care_numbers[0])

static unsigned long long care_number(const struct kist_stat *st, size_t i)
{
    uint64_t v;
    memcpy(&v, (const char *)st + care_numbers[i].offset, sizeof v);
    return v;
}

static void care_show_stat(struct session *s, const struct kist_stat *st, bool json)
{
    const char *engine = st->engine == KIST_ENGINE_LOG ? "log" : "memory";
    const char *sync = st->sync == KIST_SYNC_FULL ? "full" : "none";
    output_format(&s->out, json ? "{\"engine\":\"%s\",\"sync\":\"%s\",\"suite\":%d" : "engine %s\nsync %s\nsuite %d\n", engine,
                  sync, st->suite);
    output_format(&s->out,
                  json ? ",\"key_generation\":%u,\"key_generations\":%u,\"failed\":%s"
                       : "key_generation %u\nkey_generations %u\nfailed %s\n",
                  st->key_generation, st->key_generations, st->failed ? "true" : "false");
    for (size_t i = 0; i < CARE_NUMBERS; i++)
        output_format(&s->out, json ? ",\"%s\":%llu" : "%s %llu\n", care_numbers[i].name, care_number(st, i));
    if (json)
        output_text(&s->out, "}\n");
}

int care_stat(struct session *s)
{
    struct kist_stat st = {.size = sizeof st};
    int r = session_open(s, SESSION_READ);
    if (r == 0)
        r = kist_stat(s->store, &st);
    if (r == 0)
        care_show_stat(s, &st, args_has(&s->args, OPT_JSON));
    return r;
}

static void care_problem(const char *sentence, void *ctx)
{
    const struct session *s = ctx;
    session_progress_end();
    report_line(s->command, "%s", sentence);
}

static void care_show_report(struct session *s, const struct kist_verify_report *v)
{
    bool json = args_has(&s->args, OPT_JSON);
    output_format(&s->out,
                  json ? "{\"segments\":%llu,\"frames\":%llu,\"values\":%llu,\"bytes\":%llu,"
                         "\"revision\":%llu,\"old_key_frames\":%llu,"
                         "\"problems\":%llu}\n"
                       : "segments %llu\nframes %llu\nvalues %llu\nbytes %llu\nrevision "
                         "%llu\nold_key_frames %llu\nproblems %llu\n",
                  (unsigned long long)v->segments, (unsigned long long)v->frames, (unsigned long long)v->values,
                  (unsigned long long)v->bytes, (unsigned long long)v->revision, (unsigned long long)v->old_key_frames,
                  (unsigned long long)v->problems);
}

int care_verify(struct session *s)
{
    struct kist_verify_options o = {.size = sizeof o, .progress = session_progress(), .problem = care_problem, .problem_ctx = s};
    struct kist_verify_report v = {0};
    int r = args_number(&s->args, OPT_AT_LEAST, INT64_MAX, 0, &o.at_least);
    if (r == 0)
        r = session_open(s, SESSION_READ);
    if (r)
        return r;
    r = kist_verify(s->store, &o, &v);
    session_progress_end();
    if (r == 0 || r == KIST_ECORRUPT || r == KIST_EROLLBACK)
        care_show_report(s, &v);
    return r;
}

int care_compact(struct session *s)
{
    int r = session_open(s, SESSION_WRITE);
    if (r == 0)
        r = kist_sweep(s->store, 0, NULL);
    if (r == 0)
        r = kist_compact(s->store, session_progress(), NULL);
    session_progress_end();
    return r;
}

int care_rotate(struct session *s)
{
    int r = session_open(s, SESSION_WRITE);
    if (r == 0)
        r = kist_rotate(s->store, args_has(&s->args, OPT_RESUME), session_progress(), NULL);
    session_progress_end();
    return r;
}
