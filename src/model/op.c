/* op.c: one operation as one line of JSON.
 *
 * It promises that what op_add_record() writes, op_parse() reads back to the byte, whatever the
 * bytes are: what is not UTF-8, or would not survive as JSON on one line, goes as base64. A member
 * that is not known or given twice is an error and not ignored: a mistyped "if_revision" must not
 * become an unconditional write.
 *
 * All that is decoded fits into as many bytes as the line has, so the room is made once and
 * pointers into it last. */
#include "model/op.h"

#include "model/base64.h"
#include "model/json.h"
#include "model/value.h"

#include <string.h>

struct op_reader {
    struct op *op;
    struct buf *room;
    struct error_detail *detail;
    struct kist_bytes value; /* as written; ptr NULL: not given */
    struct kist_bytes base64;
    struct kist_bytes by;
    unsigned seen; /* a bit a member */
};

static int op_bad(struct op_reader *r, const char *what)
{
    return error_set(r->detail, KIST_EINVAL, "%s", what);
}

/* What a JSON string says, in the room. */
static int op_string(struct op_reader *r, struct kist_bytes text, struct kist_bytes *out)
{
    size_t at = r->room->len;
    if (text.len == 0 || *(const char *)text.ptr != '"')
        return op_bad(r, "a string is expected");
    int e = json_text(text, r->room);
    if (e == KIST_EJSON)
        return error_set(r->detail, e, "half a surrogate pair in a string");
    if (e < 0)
        return e;
    *out = (struct kist_bytes){r->room->data + at, r->room->len - at};
    return 0;
}

static int op_base64(struct op_reader *r, struct kist_bytes text, struct kist_bytes *out)
{
    struct kist_bytes letters = {0};
    int e = op_string(r, text, &letters);
    if (e < 0)
        return e;
    size_t at = r->room->len;
    e = base64_decode(letters, r->room);
    if (e == KIST_EINVAL)
        return op_bad(r, "not base64");
    if (e < 0)
        return e;
    *out = (struct kist_bytes){r->room->data + at, r->room->len - at};
    return 0;
}

static bool op_named(struct kist_bytes name, const char *expected)
{
    return name.len == strlen(expected) + 2 && memcmp((const char *)name.ptr + 1, expected, name.len - 2) == 0;
}

/* A string, or {"base64":"…"}. */
static int op_key(struct op_reader *r, enum op_kind kind, struct kist_bytes text)
{
    struct json_members m;
    struct json_member member, more;
    if (r->op->kind)
        return op_bad(r, "two operations in one");
    r->op->kind = kind;
    if (!json_members_init(&m, text))
        return op_string(r, text, &r->op->key);
    if (!json_members_next(&m, &member) || !op_named(member.name, "base64") || json_members_next(&m, &more))
        return op_bad(r, "a key is a string or {\"base64\":\"...\"}");
    return op_base64(r, member.value, &r->op->key);
}

static int op_ttl(struct op_reader *r, struct kist_bytes text)
{
    double seconds;
    if (*(const char *)text.ptr == 'n') {
        r->op->options.ttl_ms = KIST_TTL_NEVER;
        return 0;
    }
    if (value_parse_float(text, &seconds) < 0)
        return op_bad(r, "ttl: a number of seconds or null");
    double ms = seconds * 1000;
    if (!(ms >= 1) || !(ms <= (double)KIST_TTL_MAX))
        return op_bad(r, "ttl: from 0.001 to 31,536,000,000 seconds");
    r->op->options.ttl_ms = (int64_t)(ms + 0.5);
    return 0;
}

static int op_revision(struct op_reader *r, struct kist_bytes text)
{
    int64_t v;
    if (value_parse_int(text, &v) < 0 || v < 0)
        return op_bad(r, "if_revision: a revision, or 0");
    r->op->options.flags |= KIST_IF_REVISION;
    r->op->options.if_revision = (uint64_t)v;
    return 0;
}

static int op_expires(struct op_reader *r, struct kist_bytes text)
{
    int64_t v;
    if (value_parse_int(text, &v) < 0 || v < 1)
        return op_bad(r, "expires_ms: milliseconds since 1970");
    r->op->expires_ms = v;
    return 0;
}

static int op_type(struct op_reader *r, struct kist_bytes text)
{
    struct kist_bytes name = {0};
    int e = op_string(r, text, &name);
    if (e < 0)
        return e;
    return op_type_parse(name, &r->op->options.type) < 0 ? op_bad(r, "type: raw, int, float, json or detect") : 0;
}

static const struct {
    const char *name;
    enum op_kind kind; /* OP_NONE: a circumstance */
} op_members[] = {
    {"set", OP_SET},          {"delete", OP_DELETE},   {"get", OP_GET},     {"incr", OP_INCR}, {"append", OP_APPEND},
    {"merge", OP_MERGE},      {"value", OP_NONE},      {"base64", OP_NONE}, {"by", OP_NONE},   {"ttl", OP_NONE},
    {"if_revision", OP_NONE}, {"expires_ms", OP_NONE}, {"type", OP_NONE},
};
#define OP_MEMBERS (sizeof op_members / sizeof op_members[0])
#define OP_TTL_BIT (1u << 9)
#define OP_EXPIRES_BIT (1u << 11)
#define OP_TYPE_BIT (1u << 12)

static int op_member(struct op_reader *r, const struct json_member *m)
{
    size_t i = 0;
    while (i < OP_MEMBERS && !op_named(m->name, op_members[i].name))
        i++;
    if (i == OP_MEMBERS)
        return op_bad(r, "a member that is not known");
    if (r->seen & 1u << i)
        return op_bad(r, "a member twice");
    r->seen |= 1u << i;
    if (op_members[i].kind)
        return op_key(r, op_members[i].kind, m->value);
    switch (i) {
    case 6:
        r->value = m->value;
        return 0;
    case 7:
        r->base64 = m->value;
        return 0;
    case 8:
        r->by = m->value;
        return 0;
    case 9:
        return op_ttl(r, m->value);
    case 10:
        return op_revision(r, m->value);
    case 11:
        return op_expires(r, m->value);
    default:
        return op_type(r, m->value);
    }
}

static int op_value(struct op_reader *r)
{
    struct op *op = r->op;
    if (!r->value.ptr == !r->base64.ptr)
        return op_bad(r, "either value or base64 is needed");
    if (r->base64.ptr)
        return op_base64(r, r->base64, &op->value);
    bool json = op->kind == OP_MERGE || (op->kind == OP_SET && op->options.type == KIST_JSON);
    if (!json && *(const char *)r->value.ptr == '"')
        return op_string(r, r->value, &op->value);
    op->value = r->value;
    return 0;
}

static int op_by(struct op_reader *r)
{
    struct op *op = r->op;
    op->by_i = 1;
    if (!r->by.ptr)
        return 0;
    int e = value_parse_step(r->by, &op->by_float, &op->by_i, &op->by_f);
    if (e == KIST_ERANGE)
        return error_set(r->detail, e, "by: %s", VALUE_STEP_RANGE);
    return e < 0 ? op_bad(r, "by: a number") : 0;
}

/* What belongs to what, when all members are known. */
static int op_finish(struct op_reader *r)
{
    struct op *op = r->op;
    bool valued = op->kind == OP_SET || op->kind == OP_APPEND || op->kind == OP_MERGE;
    if (op->kind == OP_NONE)
        return op_bad(r, "no operation: set, delete, get, incr, append or merge");
    if ((r->value.ptr || r->base64.ptr) && !valued)
        return op_bad(r, "this operation has no value");
    if (r->by.ptr && op->kind != OP_INCR)
        return op_bad(r, "by belongs to incr");
    if (op->kind == OP_GET && (op->options.flags || r->seen & OP_TTL_BIT))
        return op_bad(r, "get has neither ttl nor if_revision");
    if (op->kind == OP_DELETE && r->seen & OP_TTL_BIT)
        return op_bad(r, "delete has no ttl");
    if (r->seen & OP_EXPIRES_BIT && (op->kind != OP_SET || r->seen & OP_TTL_BIT))
        return op_bad(r, "expires_ms belongs to set, without ttl");
    if (r->seen & OP_TYPE_BIT && op->kind != OP_SET && op->kind != OP_APPEND)
        return op_bad(r, "type belongs to set and append");
    if (!(r->seen & OP_TYPE_BIT))
        op->options.type = op->kind == OP_SET ? KIST_DETECT : KIST_RAW;
    if (valued)
        return op_value(r);
    return op->kind == OP_INCR ? op_by(r) : 0;
}

int op_parse(struct kist_bytes line, struct buf *room, struct op *out, struct error_detail *detail)
{
    struct op op = {.options.size = sizeof op.options};
    struct op_reader r = {.op = &op, .room = room, .detail = detail};
    struct json_members m;
    struct json_member member;
    struct kist_bytes text = json_trim(line);
    if (json_check(text) < 0)
        return error_set(detail, KIST_EJSON, "not JSON on one line");
    if (!json_members_init(&m, text))
        return op_bad(&r, "an object is expected");
    buf_reset(room);
    /* Base64 is decoded behind its own letters, hence twice. */
    if (!buf_reserve(room, 2 * text.len))
        return KIST_ENOMEM;
    while (json_members_next(&m, &member)) {
        int e = op_member(&r, &member);
        if (e < 0)
            return e;
    }
    int e = op_finish(&r);
    if (e == 0)
        *out = op;
    return e;
}

static const char *const op_types[] = {"raw", "int", "float", "json", "detect"};

const char *op_type_name(enum kist_type type)
{
    return (unsigned)type < 5 ? op_types[type] : "?";
}

int op_type_parse(struct kist_bytes text, enum kist_type *out)
{
    for (unsigned i = 0; i < 5; i++)
        if (text.len == strlen(op_types[i]) && memcmp(text.ptr, op_types[i], text.len) == 0) {
            *out = (enum kist_type)i;
            return 0;
        }
    return KIST_EINVAL;
}

static void op_add(struct buf *out, const char *text)
{
    buf_add(out, text, strlen(text));
}

static void op_add_base64(struct buf *out, struct kist_bytes bytes)
{
    op_add(out, "\"base64\":\"");
    base64_encode(bytes, out);
    op_add(out, "\"");
}

void op_add_key(struct buf *out, struct kist_bytes key)
{
    if (json_is_utf8(key)) {
        json_add_string(out, key);
        return;
    }
    op_add(out, "{");
    op_add_base64(out, key);
    op_add(out, "}");
}

/* Can JSON text stand in a line as it is, and be found there without losing a blank? */
static bool op_is_one_line(struct kist_bytes text)
{
    return json_check(text) == 0 && json_trim(text).len == text.len && !memchr(text.ptr, '\n', text.len) &&
           !memchr(text.ptr, '\r', text.len);
}

void op_add_value(struct buf *out, struct kist_bytes value, enum kist_type type)
{
    bool as_json = type != KIST_RAW && op_is_one_line(value);
    if (as_json) {
        op_add(out, "\"value\":");
        buf_add(out, value.ptr, value.len);
    } else if (type == KIST_RAW && json_is_utf8(value)) {
        op_add(out, "\"value\":");
        json_add_string(out, value);
    } else {
        op_add_base64(out, value);
    }
    op_add(out, ",\"type\":\"");
    op_add(out, op_type_name(type));
    op_add(out, "\"");
}

void op_add_plain(struct buf *out, struct kist_bytes value, enum kist_type type)
{
    if (type != KIST_RAW && op_is_one_line(value))
        buf_add(out, value.ptr, value.len);
    else
        op_add_key(out, value);
}

void op_add_record(struct buf *out, const struct kist_record *record)
{
    op_add(out, "{\"set\":");
    op_add_key(out, record->key);
    op_add(out, ",");
    op_add_value(out, record->value, record->type);
    if (record->expires_ms) {
        char number[VALUE_TEXT];
        op_add(out, ",\"expires_ms\":");
        buf_add(out, number, value_format_int(record->expires_ms, number));
    }
    if (record->never)
        op_add(out, ",\"ttl\":null");
    op_add(out, "}\n");
}
