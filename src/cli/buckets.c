/* buckets.c: namespaces: list, create, rename, delete, default TTL.
 *
 * Deleting asks nothing: kist is used by scripts. The bucket "default" cannot go. */
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/session.h"
#include "model/json.h"

#include <string.h>

static int buckets_show(const struct kist_bucket_info *info, void *ctx)
{
    struct session *s = ctx;
    struct kist_bytes name = {info->name, strlen(info->name)};
    if (args_has(&s->args, OPT_JSON)) {
        output_format(&s->out, "{\"id\":\"%s\",\"name\":", info->id);
        json_add_string(&s->out.buf, name);
        output_format(&s->out, ",\"default_ttl_ms\":%lld,\"created_ms\":%lld}\n", (long long)info->default_ttl_ms,
                      (long long)info->created_ms);
    } else {
        output_format(&s->out, "%s %s\n", info->id, info->name);
    }
    return output_step(&s->out);
}

static int buckets_list(struct session *s)
{
    int r = session_open(s, SESSION_READ);
    return r ? r : kist_bucket_list(s->store, buckets_show, s);
}

static int buckets_create(struct session *s, const char *name)
{
    struct kist_bucket_options o = {.size = sizeof o};
    struct kist_bucket_info info;
    int r = args_time(&s->args, OPT_TTL, &o.default_ttl_ms);
    if (o.default_ttl_ms < 0)
        o.default_ttl_ms = 0;
    if (r == 0)
        r = session_open(s, SESSION_WRITE);
    if (r == 0)
        r = kist_bucket_create(s->store, name, &o, &s->bucket);
    if (r == 0)
        r = kist_bucket_describe(s->bucket, &info);
    if (r == 0)
        output_format(&s->out, "%s\n", info.id);
    return r;
}

static int buckets_change(struct session *s, const char *verb)
{
    int64_t ttl = 0;
    bool timed = strcmp(verb, "ttl") == 0;
    int r = args_time(&s->args, OPT_TTL, &ttl);
    if (r == 0 && timed && !ttl)
        r = report_usage(s->command, "ttl needs --ttl TIME");
    if (r == 0)
        r = session_open(s, SESSION_WRITE);
    if (r == 0)
        r = kist_bucket_open(s->store, s->args.words[1], &s->bucket);
    if (r)
        return r;
    if (timed)
        return kist_bucket_set_ttl(s->bucket, ttl < 0 ? 0 : ttl);
    return strcmp(verb, "delete") == 0 ? kist_bucket_delete(s->bucket) : kist_bucket_rename(s->bucket, s->args.words[2]);
}

int buckets_run(struct session *s)
{
    const char *verb = s->args.words[0];
    int n = s->args.count;
    if (n == 1 && strcmp(verb, "list") == 0)
        return buckets_list(s);
    if (n == 2 && strcmp(verb, "create") == 0)
        return buckets_create(s, s->args.words[1]);
    if ((n == 2 && (strcmp(verb, "delete") == 0 || strcmp(verb, "ttl") == 0)) || (n == 3 && strcmp(verb, "rename") == 0))
        return buckets_change(s, verb);
    return report_usage(s->command, "list, create NAME, rename NAME NEW, delete NAME or ttl NAME");
}
