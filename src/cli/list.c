/* list.c: names, with or without values, one a line.
 *
 * A name may hold any byte. On a terminal control characters are shown as \xNN, for they could be
 * commands to it; in a pipe names are written as they are, --null and --json are there for names
 * with newlines. With values a line is KEY=VALUE with \n and \\ in both, as over HTTP. */
#include "cli/commands.h"
#include "cli/session.h"
#include "model/json.h"
#include "model/op.h"

#include <string.h>

struct list {
    struct session *s;
    bool values, json, terminal;
    char end; /* behind each name */
};

static const char list_hex[] = "0123456789abcdef";

static void list_add_shown(struct buf *out, struct kist_bytes text)
{
    const uint8_t *p = text.ptr;
    bool utf8 = json_is_utf8(text);
    for (size_t i = 0; i < text.len; i++) {
        bool c1 = p[i] == 0xc2 && i + 1 < text.len && p[i + 1] < 0xa0; /* U+0080 to U+009F */
        if (p[i] >= 0x20 && p[i] != 0x7f && (p[i] < 0x80 || (utf8 && !c1))) {
            buf_add_u8(out, p[i]);
            continue;
        }
        char code[] = {'\\', 'x', list_hex[p[i] >> 4], list_hex[p[i] & 15]};
        buf_add(out, code, sizeof code);
    }
}

/* In a line that has a newline and an equals sign of its own. */
static void list_add_escaped(struct buf *out, struct kist_bytes text)
{
    const uint8_t *p = text.ptr;
    for (size_t i = 0; i < text.len; i++) {
        if (p[i] == '\n' || p[i] == '\\')
            buf_add_u8(out, '\\');
        buf_add_u8(out, p[i] == '\n' ? 'n' : p[i]);
    }
}

static void list_add_text(const struct list *l, struct kist_bytes text)
{
    if (l->terminal)
        list_add_shown(&l->s->out.buf, text);
    else if (l->values)
        list_add_escaped(&l->s->out.buf, text);
    else
        buf_add(&l->s->out.buf, text.ptr, text.len);
}

/* "key" or ["key",value]: what is not text is {"base64":"..."}. */
static void list_add_json(const struct list *l, const struct kist_record *record)
{
    struct buf *out = &l->s->out.buf;
    if (l->values)
        buf_add_u8(out, '[');
    op_add_key(out, record->key);
    if (!l->values)
        return;
    buf_add_u8(out, ',');
    op_add_plain(out, record->value, record->type);
    buf_add_u8(out, ']');
}

static int list_add(const struct list *l, const struct kist_record *record)
{
    struct output *out = &l->s->out;
    if (l->json) {
        list_add_json(l, record);
    } else {
        list_add_text(l, record->key);
        if (l->values) {
            output_text(out, "=");
            list_add_text(l, record->value);
        }
    }
    buf_add_u8(&out->buf, (uint8_t)l->end);
    return output_step(out);
}

static int list_walk(const struct list *l, const struct kist_range *range, uint64_t limit)
{
    struct kist_cursor *cursor = NULL;
    struct kist_record record;
    int r = kist_cursor_open(l->s->bucket, range, &cursor);
    while (r == 0 && limit-- > 0) {
        r = kist_cursor_next(cursor, &record);
        if (r == 0)
            r = list_add(l, &record);
    }
    kist_cursor_close(&cursor);
    return r == KIST_EEND ? 0 : r;
}

int list_run(struct session *s)
{
    const struct args *a = &s->args;
    struct list l = {.s = s, .values = args_has(a, OPT_VALUES), .json = args_has(a, OPT_JSON)};
    struct kist_range range = {.size = sizeof range, .reverse = args_has(a, OPT_REVERSE), .keys_only = !l.values};
    uint64_t limit;
    l.end = args_has(a, OPT_NUL) ? '\0' : '\n';
    l.terminal = !l.json && output_is_terminal(&s->out);
    int r = args_number(a, OPT_LIMIT, INT64_MAX, INT64_MAX, &limit);
    if (r == 0)
        r = session_bucket(s, SESSION_READ);
    if (r)
        return r;
    if (a->count == 1)
        range.prefix = session_word(s, 0);
    return list_walk(&l, &range, limit);
}
