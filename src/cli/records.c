/* records.c: get, put, del, incr: one key, or a few, at a time.
 *
 * get writes the bytes of the value and nothing else, so that what was put with `put KEY -` comes
 * back through a pipe as it was. Values that arrive as text are given the type that they look like,
 * as they are over HTTP. */
#include "base/os.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/report.h"
#include "cli/session.h"
#include "model/op.h"
#include "model/value.h"

#include <string.h>
#include <unistd.h>

static int records_show(struct session *s, const struct kist_value *v)
{
    if (!args_has(&s->args, OPT_JSON))
        return output_write(&s->out, v->data, v->len);
    output_text(&s->out, "{");
    op_add_value(&s->out.buf, (struct kist_bytes){v->data, v->len}, v->type);
    output_format(&s->out, ",\"revision\":%llu", (unsigned long long)v->revision);
    if (v->expires_ms)
        output_format(&s->out, ",\"expires_ms\":%lld", (long long)v->expires_ms);
    output_text(&s->out, "}\n");
    return 0;
}

int records_get(struct session *s)
{
    struct kist_value v = {0};
    int r = session_bucket(s, SESSION_READ);
    if (r == 0)
        r = kist_get(s->bucket, session_word(s, 0), &v);
    if (r == 0)
        r = records_show(s, &v);
    kist_value_free(&v);
    return r;
}

/* The value to be put: the second argument, a file, or standard input. */
static int records_value(struct session *s, struct buf *room, struct kist_bytes *out)
{
    const char *file = s->args.text[OPT_FILE];
    bool given = s->args.count == 2;
    if (file && given)
        return report_usage(s->command, "either VALUE or --file");
    if (given && strcmp(s->args.words[1], "-") != 0) {
        *out = session_word(s, 1);
        return 0;
    }
    int r = input_file(s->command, file ? file : "-", KIST_VALUE_MAX, room);
    if (r == 0)
        *out = (struct kist_bytes){room->data, room->len};
    return r;
}

int records_put(struct session *s)
{
    struct kist_put_options o;
    struct kist_bytes value = {0};
    struct buf room;
    int r = args_put_options(&s->args, &o);
    if (r)
        return r;
    buf_init(&room, true);
    r = session_bucket(s, SESSION_WRITE); /* first: the passphrase may be on the same pipe, in front of the value */
    if (r == 0)
        r = records_value(s, &room, &value);
    if (r == 0)
        r = kist_put(s->bucket, session_word(s, 0), value, &o, NULL);
    buf_done(&room);
    return r;
}

struct records_many {
    struct session *s;
    const struct kist_put_options *options;
};

static int records_del_all(struct kist_txn *txn, void *ctx)
{
    const struct records_many *m = ctx;
    int r = 0;
    for (int i = 0; r == 0 && i < m->s->args.count; i++)
        r = kist_txn_delete(txn, session_word(m->s, i), m->options, NULL);
    return r;
}

int records_del(struct session *s)
{
    struct kist_put_options o;
    struct records_many m = {s, &o};
    int r = args_put_options(&s->args, &o);
    if (r == 0)
        r = session_bucket(s, SESSION_WRITE);
    if (r)
        return r;
    if (s->args.count == 1)
        return kist_delete(s->bucket, session_word(s, 0), &o, NULL, NULL);
    return kist_run(s->bucket, KIST_OPTIMISTIC, records_del_all, &m, NULL);
}

int records_incr(struct session *s)
{
    struct kist_put_options o;
    char text[VALUE_TEXT];
    int64_t by = 1, now = 0;
    double by_float = 0, now_float = 0;
    struct kist_bytes n = s->args.count == 2 ? session_word(s, 1) : KIST_STR("1");
    bool is_float = false;
    int r = value_parse_step(n, &is_float, &by, &by_float);
    if (r == KIST_ERANGE)
        return report_error(s->command, "N: ", r, VALUE_STEP_RANGE);
    if (r < 0)
        return report_usage(s->command, "N: a number");
    r = args_put_options(&s->args, &o);
    if (r == 0)
        r = session_bucket(s, SESSION_WRITE);
    o.type = KIST_RAW; /* the result says its type itself */
    if (r == 0 && !is_float)
        r = kist_increment(s->bucket, session_word(s, 0), by, &o, &now, NULL);
    else if (r == 0)
        r = kist_increment_float(s->bucket, session_word(s, 0), by_float, &o, &now_float, NULL);
    if (r == 0) {
        buf_add(&s->out.buf, text, is_float ? value_format_float(now_float, text) : value_format_int(now, text));
        output_text(&s->out, "\n");
    }
    return r;
}
