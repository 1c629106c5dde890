/* batch.c: txn, export, import: many operations as JSON lines.
 *
 * txn reads everything before it begins, so that a slow or broken pipe holds no lock and a conflict
 * can run it again; what it answers is written after the commit only. export and import stream.
 * Errors name the line, never what is on it. */
#include "base/os.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/report.h"
#include "cli/session.h"
#include "model/json.h"
#include "model/op.h"
#include "model/value.h"

#include <stdio.h>
#include <string.h>

#define BATCH_LINE_MAX ((size_t)KIST_VALUE_MAX * 6 + 65536) /* every byte as \u00NN, and a key */
#define BATCH_TXN_MAX ((size_t)KIST_TXN_MAX * 2)

struct batch {
    struct session *s;
    struct kist_bytes rest; /* of the input */
    uint64_t line;          /* that was read last, from 1 */
    struct buf room;        /* of the operation that was read last */
    struct buf answers;
    struct error_detail detail;
};

static void batch_init(struct batch *b, struct session *s)
{
    *b = (struct batch){.s = s};
    buf_init(&b->room, true);
    buf_init(&b->answers, true);
}

static void batch_done(struct batch *b)
{
    buf_done(&b->room);
    buf_done(&b->answers);
}

/* -- txn -- */

/* The next line that is not blank; false at the end. */
static bool batch_next(struct batch *b, struct kist_bytes *out)
{
    while (b->rest.len) {
        const uint8_t *p = b->rest.ptr, *end = memchr(p, '\n', b->rest.len);
        size_t len = end ? (size_t)(end - p) : b->rest.len, past = len + (end != NULL);
        b->rest = (struct kist_bytes){p + past, b->rest.len - past};
        b->line++;
        *out = json_trim((struct kist_bytes){p, len});
        if (out->len)
            return true;
    }
    return false;
}

static void batch_answer(struct batch *b, const char *format, ...) KIST_PRINTF(2, 3);
static void batch_answer(struct batch *b, const char *format, ...)
{
    char line[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    buf_add(&b->answers, line, (size_t)n);
}

static int batch_get(struct batch *b, struct kist_txn *txn, const struct op *op)
{
    struct kist_value v = {0};
    int r = kist_txn_get(txn, op->key, &v);
    if (r == KIST_ENOKEY) {
        batch_answer(b, "{\"found\":false}\n");
        return 0;
    }
    if (r < 0)
        return r;
    batch_answer(b, "{\"found\":true,");
    op_add_value(&b->answers, (struct kist_bytes){v.data, v.len}, v.type);
    batch_answer(b, ",\"revision\":%llu}\n", (unsigned long long)v.revision);
    kist_value_free(&v);
    return 0;
}

static int batch_incr(struct batch *b, struct kist_txn *txn, const struct op *op)
{
    char text[VALUE_TEXT];
    int64_t now;
    double now_float;
    int r = op->by_float ? kist_txn_increment_float(txn, op->key, op->by_f, &op->options, &now_float)
                         : kist_txn_increment(txn, op->key, op->by_i, &op->options, &now);
    if (r < 0)
        return r;
    (void)(op->by_float ? value_format_float(now_float, text) : value_format_int(now, text));
    batch_answer(b, "{\"value\":%s}\n", text);
    return 0;
}

static int batch_set(struct kist_txn *txn, const struct op *op)
{
    struct kist_put_options o = op->options;
    if (op->expires_ms) {
        o.ttl_ms = op->expires_ms - os_now_ms();
        if (o.ttl_ms < 1) { /* it has expired on the way: then it is not there */
            o.ttl_ms = KIST_TTL_KEEP;
            return kist_txn_delete(txn, op->key, &o, NULL);
        }
        if (o.ttl_ms > KIST_TTL_MAX)
            o.ttl_ms = KIST_TTL_MAX;
    }
    return kist_txn_put(txn, op->key, op->value, &o);
}

static int batch_apply(struct batch *b, struct kist_txn *txn, const struct op *op)
{
    size_t len = 0;
    bool existed = false;
    int r;
    switch (op->kind) {
    case OP_SET:
        r = batch_set(txn, op);
        break;
    case OP_DELETE:
        r = kist_txn_delete(txn, op->key, &op->options, &existed);
        if (r == 0)
            batch_answer(b, "{\"existed\":%s}\n", existed ? "true" : "false");
        return r;
    case OP_GET:
        return batch_get(b, txn, op);
    case OP_INCR:
        return batch_incr(b, txn, op);
    case OP_APPEND:
        r = kist_txn_append(txn, op->key, op->value, &op->options, &len);
        if (r == 0)
            batch_answer(b, "{\"length\":%zu}\n", len);
        return r;
    default:
        r = kist_txn_merge(txn, op->key, op->value, &op->options);
    }
    if (r == 0)
        batch_answer(b, "{\"ok\":true}\n");
    return r;
}

static int batch_run(struct kist_txn *txn, void *ctx)
{
    struct batch *b = ctx, start = *b;
    struct kist_bytes line;
    int r = 0;
    buf_reset(&b->answers);
    while (r == 0 && batch_next(b, &line)) {
        struct op op;
        r = op_parse(line, &b->room, &op, &b->detail);
        if (r == 0)
            r = batch_apply(b, txn, &op);
        if (r == 0)
            r = buf_status(&b->answers);
    }
    if (r == 0) { /* for the next try */
        b->rest = start.rest;
        b->line = 0;
    }
    return r;
}

/* Say which line it was. */
static int batch_failed(const struct batch *b, int code)
{
    char where[40];
    (void)snprintf(where, sizeof where, "line %llu: ", (unsigned long long)b->line);
    return session_failed(b->s, where, code, b->detail.text);
}

int batch_txn(struct session *s)
{
    struct batch b;
    struct buf input;
    uint64_t revision = 0;
    batch_init(&b, s);
    buf_init(&input, true);
    int r = session_bucket(s, SESSION_WRITE);
    if (r == 0)
        r = input_file(s->command, "-", BATCH_TXN_MAX, &input);
    if (r)
        goto done;
    b.rest = (struct kist_bytes){input.data, input.len};
    r = kist_run(s->bucket, KIST_OPTIMISTIC, batch_run, &b, &revision);
    if (r < 0 && b.line) { /* a line of ours failed; 0: the commit did */
        r = batch_failed(&b, r);
        goto done;
    }
    if (r == 0) {
        batch_answer(&b, "{\"revision\":%llu}\n", (unsigned long long)revision);
        r = buf_status(&b.answers);
    }
    if (r == 0)
        r = output_write(&s->out, b.answers.data, b.answers.len);
done:
    buf_done(&input);
    batch_done(&b);
    return r;
}

/* -- export -- */

static int batch_export_one(const struct kist_record *record, void *ctx)
{
    struct session *s = ctx;
    op_add_record(&s->out.buf, record);
    return output_step(&s->out);
}

int batch_export(struct session *s)
{
    struct kist_range range = {.size = sizeof range};
    int r = session_bucket(s, SESSION_READ);
    if (r)
        return r;
    if (s->args.count == 1)
        range.prefix = session_word(s, 0);
    return kist_export(s->bucket, &range, batch_export_one, s);
}

/* -- import -- */

struct batch_import {
    struct batch b;
    int fd;
    size_t begin;     /* of what is not read yet in chunk */
    struct buf chunk; /* read from fd, up to whole lines */
    bool end;
};

/* The next line, borrowed until the next call; KIST_EEND. */
static int batch_import_line(struct batch_import *i, struct kist_bytes *out)
{
    for (size_t looked = 0;;) {
        const uint8_t *p = i->chunk.data ? i->chunk.data + i->begin : NULL;
        size_t left = i->chunk.len - i->begin, n;
        const uint8_t *newline = p && left > looked ? memchr(p + looked, '\n', left - looked) : NULL;
        if (newline || (i->end && left)) {
            *out = (struct kist_bytes){p, newline ? (size_t)(newline - p) : left};
            i->begin += out->len + (newline != NULL);
            i->b.line++;
            return 0;
        }
        if (i->end)
            return KIST_EEND;
        if (left > BATCH_LINE_MAX)
            return error_set(&i->b.detail, KIST_ETOOBIG, "the line");
        looked = left;
        if (p && i->begin) {
            memmove(i->chunk.data, p, left);
            i->chunk.len = left;
            i->begin = 0;
        }
        uint8_t *to = buf_reserve(&i->chunk, 65536);
        if (!to)
            return KIST_ENOMEM;
        int r = input_stream(to, i->chunk.cap - i->chunk.len, &n, &i->fd);
        if (r < 0)
            return error_set(&i->b.detail, r, "the input cannot be read");
        i->chunk.len += n;
        i->end = n == 0;
    }
}

static int batch_import_record(struct batch_import *i, struct kist_bytes line, struct kist_record *out)
{
    struct op op;
    int r = op_parse(line, &i->b.room, &op, &i->b.detail);
    if (r < 0)
        return r;
    if (op.kind != OP_SET || op.options.flags)
        return error_set(&i->b.detail, KIST_EINVAL, "only set, without if_revision");
    r = value_check(&op.options.type, op.value);
    if (r < 0)
        return r;
    if (op.options.ttl_ms > 0)
        op.expires_ms = os_now_ms() + op.options.ttl_ms;
    *out = (struct kist_record){.key = op.key,
                                .value = op.value,
                                .type = op.options.type,
                                .expires_ms = op.expires_ms,
                                .never = op.options.ttl_ms == KIST_TTL_NEVER};
    return 0;
}

static int batch_import_next(struct kist_record *out, void *ctx)
{
    struct batch_import *i = ctx;
    for (;;) {
        struct kist_bytes line = {0};
        int r = batch_import_line(i, &line);
        if (r < 0)
            return r;
        if (json_trim(line).len == 0)
            continue;
        r = batch_import_record(i, line, out);
        if (r < 0 || out->expires_ms == 0 || out->expires_ms > os_now_ms())
            return r;
    }
}

int batch_import(struct session *s)
{
    struct batch_import i = {.fd = -1};
    uint64_t count = 0;
    const char *path = s->args.count ? s->args.words[0] : s->args.text[OPT_FILE];
    batch_init(&i.b, s);
    buf_init(&i.chunk, true);
    int r = session_bucket(s, SESSION_WRITE);
    if (r == 0)
        r = input_open(s->command, path ? path : "-", &i.fd);
    if (r == 0) {
        r = kist_import(s->bucket, batch_import_next, &i, &count);
        if (r < 0) {
            r = batch_failed(&i.b, r);
            report_line(s->command, "%llu records before it are stored", (unsigned long long)count);
        } else {
            output_format(&s->out, "%llu\n", (unsigned long long)count);
        }
    }
    input_close(&i.fd);
    buf_done(&i.chunk);
    batch_done(&i.b);
    return r;
}
