/* json.c: JSON as text.
 *
 * Values are kept to the byte, so JSON is checked and walked where it lies and is never turned into
 * objects and back. The checker keeps one bit a level (array or object) on its stack and never
 * calls itself, so no input can exhaust the stack; levels beyond JSON_DEPTH_MAX are refused.
 * Walkers rely on a text that was checked before and are linear.
 *
 * Tried and dropped: jansson. It refuses valid JSON ([1e999], integers beyond int64, "\u0000" in
 * names), rewrites what it has read (0.1 becomes 0.10000000000000001), and leaves plaintext in
 * freed memory unless its allocator is replaced for the whole process. The tests still compare with
 * it. Merging is in patch.c. */
#include "model/json.h"

#include "model/json_walk.h"

#include <assert.h>
#include <string.h>

struct json_in {
    const uint8_t *p;
    const uint8_t *end;
};

static bool json_at(const struct json_in *in, char c)
{
    return in->p < in->end && *in->p == (uint8_t)c;
}

static bool json_accept(struct json_in *in, char c)
{
    bool there = json_at(in, c);
    in->p += there;
    return there;
}

static bool json_is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void json_skip_space(struct json_in *in)
{
    while (in->p < in->end && json_is_space(*in->p))
        in->p++;
}

static bool json_digits(struct json_in *in)
{
    const uint8_t *start = in->p;
    while (in->p < in->end && *in->p >= '0' && *in->p <= '9')
        in->p++;
    return in->p > start;
}

static bool json_number(struct json_in *in)
{
    (void)json_accept(in, '-');
    if (!json_accept(in, '0') && !json_digits(in))
        return false;
    if (json_accept(in, '.') && !json_digits(in))
        return false;
    if (json_accept(in, 'e') || json_accept(in, 'E')) {
        if (!json_accept(in, '+'))
            (void)json_accept(in, '-');
        return json_digits(in);
    }
    return true;
}

/* Length of the well-formed UTF-8 sequence at p, or 0 (table 3-7 of the Unicode standard). */
static size_t json_utf8(const uint8_t *p, const uint8_t *end)
{
    uint8_t c = p[0], low = 0x80, high = 0xbf;
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n < 2 || (size_t)(end - p) < n)
        return n < 2 ? n : 0;
    if (c == 0xe0)
        low = 0xa0;
    else if (c == 0xed)
        high = 0x9f;
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool json_is_utf8(struct kist_bytes text)
{
    const uint8_t *p = text.ptr, *end = p + text.len;
    while (p < end) {
        size_t n = json_utf8(p, end);
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

static int json_hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool json_escape(struct json_in *in)
{
    if (in->p == in->end)
        return false;
    uint8_t c = *in->p++;
    if (c != 'u')
        return c && strchr("\"\\/bfnrt", c);
    for (int i = 0; i < 4; i++)
        if (in->p == in->end || json_hex(*in->p++) < 0)
            return false;
    return true;
}

static bool json_string(struct json_in *in)
{
    if (!json_accept(in, '"'))
        return false;
    while (in->p < in->end) {
        uint8_t c = *in->p;
        if (c == '"') {
            in->p++;
            return true;
        }
        if (c < 0x20)
            return false;
        size_t n = json_utf8(in->p, in->end);
        if (n == 0)
            return false;
        in->p += n;
        if (c == '\\' && !json_escape(in))
            return false;
    }
    return false;
}

static bool json_word(struct json_in *in, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(in->end - in->p) < n || memcmp(in->p, word, n) != 0)
        return false;
    in->p += n;
    return true;
}

static bool json_scalar(struct json_in *in)
{
    if (in->p == in->end)
        return false;
    switch (*in->p) {
    case '"':
        return json_string(in);
    case 't':
        return json_word(in, "true");
    case 'f':
        return json_word(in, "false");
    case 'n':
        return json_word(in, "null");
    default:
        return json_number(in);
    }
}

/* "name" : */
static bool json_name(struct json_in *in)
{
    json_skip_space(in);
    if (!json_string(in))
        return false;
    json_skip_space(in);
    return json_accept(in, ':');
}

/* Which of the open levels are objects: a bit each. */
struct json_levels {
    uint8_t bits[(JSON_DEPTH_MAX + 7) / 8];
    size_t depth;
};

static bool json_in_object(const struct json_levels *l)
{
    size_t i = l->depth - 1;
    return l->bits[i / 8] >> (i % 8) & 1;
}

static bool json_push(struct json_levels *l, bool object)
{
    if (l->depth == JSON_DEPTH_MAX)
        return false;
    size_t i = l->depth++;
    uint8_t bit = (uint8_t)(1u << (i % 8));
    l->bits[i / 8] = (uint8_t)(object ? l->bits[i / 8] | bit : l->bits[i / 8] & ~bit);
    return true;
}

/* One value, or the opening of an array or object up to where its first value begins. *out_whole:
 * the value is complete. */
static bool json_open(struct json_in *in, struct json_levels *l, bool *out_whole)
{
    json_skip_space(in);
    bool object = json_at(in, '{');
    *out_whole = true;
    if (!object && !json_at(in, '['))
        return json_scalar(in);
    if (!json_push(l, object))
        return false;
    in->p++;
    json_skip_space(in);
    if (json_accept(in, object ? '}' : ']')) {
        l->depth--;
        return true;
    }
    *out_whole = false;
    return !object || json_name(in);
}

/* After a value: close what closes, up to where the next value begins. *out_end: there is none. */
static bool json_close(struct json_in *in, struct json_levels *l, bool *out_end)
{
    *out_end = false;
    for (;;) {
        json_skip_space(in);
        if (l->depth == 0) {
            *out_end = true;
            return in->p == in->end;
        }
        bool object = json_in_object(l);
        if (json_accept(in, ','))
            return !object || json_name(in);
        if (!json_accept(in, object ? '}' : ']'))
            return false;
        l->depth--;
    }
}

int json_check(struct kist_bytes text)
{
    struct json_in in = {text.ptr, (const uint8_t *)text.ptr + text.len};
    struct json_levels levels = {.depth = 0};
    for (;;) {
        bool whole, end;
        if (!json_open(&in, &levels, &whole))
            return KIST_EJSON;
        if (!whole)
            continue;
        if (!json_close(&in, &levels, &end))
            return KIST_EJSON;
        if (end)
            return 0;
    }
}

bool json_is_number(struct kist_bytes text)
{
    struct json_in in = {text.ptr, (const uint8_t *)text.ptr + text.len};
    return json_number(&in) && in.p == in.end;
}

struct kist_bytes json_trim(struct kist_bytes text)
{
    const uint8_t *p = text.ptr, *end = p + text.len;
    while (p < end && json_is_space(*p))
        p++;
    while (p < end && json_is_space(end[-1]))
        end--;
    return (struct kist_bytes){p, (size_t)(end - p)};
}

/* -- walking a text that was checked -- */

/* Past the string that begins at p. */
static const uint8_t *json_string_end(const uint8_t *p)
{
    assert(*p == '"');
    for (p++; *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p + 1;
}

/* Past the array or object that begins at p. */
static const uint8_t *json_container_end(const uint8_t *p)
{
    size_t depth = 0;
    do {
        uint8_t c = *p;
        if (c == '"') {
            p = json_string_end(p);
            continue;
        }
        if (c == '[' || c == '{')
            depth++;
        else if (c == ']' || c == '}')
            depth--;
        p++;
    } while (depth);
    return p;
}

/* Past the member's value that begins at p: inside an object it always has a comma, a bracket or a
 * blank behind it. */
static const uint8_t *json_value_end(const uint8_t *p)
{
    if (*p == '"')
        return json_string_end(p);
    if (*p == '[' || *p == '{')
        return json_container_end(p);
    while (!json_is_space(*p) && *p != ',' && *p != '}' && *p != ']')
        p++;
    return p;
}

static const uint8_t *json_past_space(const uint8_t *p)
{
    while (json_is_space(*p))
        p++;
    return p;
}

bool json_members_init(struct json_members *m, struct kist_bytes object)
{
    const uint8_t *p = object.ptr;
    if (object.len == 0 || *p != '{')
        return false;
    m->p = p + 1;
    return true;
}

bool json_members_name(struct json_members *m, struct kist_bytes *out_name)
{
    const uint8_t *p = json_past_space(m->p);
    if (*p == ',')
        p = json_past_space(p + 1);
    if (*p == '}') {
        m->p = p;
        return false;
    }
    const uint8_t *end = json_string_end(p);
    *out_name = (struct kist_bytes){p, (size_t)(end - p)};
    p = json_past_space(end);
    assert(*p == ':');
    m->p = json_past_space(p + 1);
    return true;
}

struct kist_bytes json_members_value(struct json_members *m)
{
    const uint8_t *p = m->p;
    m->p = json_value_end(p);
    return (struct kist_bytes){p, (size_t)(m->p - p)};
}

bool json_members_next(struct json_members *m, struct json_member *out)
{
    if (!json_members_name(m, &out->name))
        return false;
    out->value = json_members_value(m);
    return true;
}

/* -- strings -- */

static uint32_t json_unit(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)json_hex(p[i]);
    return v;
}

static void json_add_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_add_u8(out, (uint8_t)c);
        return;
    }
    if (c < 0x800) {
        buf_add_u8(out, (uint8_t)(0xc0 | c >> 6));
    } else if (c < 0x10000) {
        buf_add_u8(out, (uint8_t)(0xe0 | c >> 12));
        buf_add_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    } else {
        buf_add_u8(out, (uint8_t)(0xf0 | c >> 18));
        buf_add_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        buf_add_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
    }
    buf_add_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
}

/* Append the character of the escape behind the backslash at p; returns past it. *io_halves counts
 * lone surrogates. */
static const uint8_t *json_unescape(const uint8_t *p, const uint8_t *end, struct buf *out, size_t *io_halves)
{
    static const char names[] = "bfnrt", chars[] = "\b\f\n\r\t";
    uint8_t c = *p++;
    if (c != 'u') {
        const char *at = strchr(names, c);
        buf_add_u8(out, at ? (uint8_t)chars[at - names] : c);
        return p;
    }
    uint32_t unit = json_unit(p);
    p += 4;
    if (unit >= 0xd800 && unit < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        uint32_t low = json_unit(p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        }
    }
    *io_halves += unit >= 0xd800 && unit < 0xe000;
    json_add_utf8(out, unit);
    return p;
}

size_t json_text_loose(struct kist_bytes string, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)string.ptr + 1;
    const uint8_t *end = (const uint8_t *)string.ptr + string.len - 1;
    size_t halves = 0;
    while (p < end) {
        const uint8_t *slash = memchr(p, '\\', (size_t)(end - p));
        const uint8_t *stop = slash ? slash : end;
        buf_add(out, p, (size_t)(stop - p));
        p = slash ? json_unescape(slash + 1, end, out, &halves) : end;
    }
    return halves;
}

int json_text(struct kist_bytes string, struct buf *out)
{
    size_t before = out->len;
    if (json_text_loose(string, out) > 0) {
        out->len = before;
        return KIST_EJSON;
    }
    return buf_status(out);
}

void json_add_string(struct buf *out, struct kist_bytes text)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *p = text.ptr, *end = p + text.len, *plain = p;
    buf_add_u8(out, '"');
    for (; p < end; p++) {
        if (*p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7f)
            continue;
        buf_add(out, plain, (size_t)(p - plain));
        plain = p + 1;
        buf_add_u8(out, '\\');
        if (*p == '"' || *p == '\\') {
            buf_add_u8(out, *p);
        } else if (*p == '\n' || *p == '\t' || *p == '\r') {
            buf_add_u8(out, *p == '\n' ? 'n' : *p == '\t' ? 't' : 'r');
        } else {
            char code[] = {'u', '0', '0', hex[*p >> 4], hex[*p & 15]};
            buf_add(out, code, sizeof code);
        }
    }
    buf_add(out, plain, (size_t)(end - plain));
    buf_add_u8(out, '"');
}
