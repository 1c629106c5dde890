/* patch.c: JSON merge patch (RFC 7386) from text to text.
 *
 * The patch becomes a flat array of its members, objects inside objects included, with an index
 * sorted by name for each object; then the target is read once from left to right and written anew
 * with the patch's changes. So every byte of both is looked at a bounded number of times however
 * deep they are, and what the patch does not mention keeps the text it had. Recursion is one call a
 * level, and json_check() has bounded the levels before.
 *
 * A name that is doubled in the patch counts as it was given last. Doubled in the target, all of
 * them stay, each changed in the same way: whoever reads the result with "the last one counts" sees
 * what the RFC says. */
#include "model/json.h"

#include "base/bytes.h"
#include "base/os.h"
#include "model/json_walk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct patch_node {
    struct kist_bytes written; /* the name with its quotes */
    struct kist_bytes name;    /* what it says */
    struct kist_bytes value;   /* unless an object */
    struct patch_node *next;   /* sibling, as written */
    struct patch_node *child;  /* of an object: its first member */
    struct patch_node **index; /* of an object: its members by name, the last of a doubled name only */
    size_t count;
    bool object, null;
    bool done; /* written, or another of this name counts */
};

struct patch {
    struct patch_node *nodes;  /* nodes[0] is the patch itself */
    struct patch_node **index; /* as many */
    size_t room, used, indexed;
    struct buf names;   /* what names with escapes say; never grows after its start: nodes point into it */
    struct buf scratch; /* one name of the target */
    struct buf *out;
};

/* How many nodes at most: one a colon outside of strings, and the patch itself. */
static size_t patch_count(struct kist_bytes text)
{
    const uint8_t *p = text.ptr;
    bool inside = false;
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++) {
        if (p[i] == '"')
            inside = !inside;
        else if (p[i] == '\\')
            i++;
        else
            n += p[i] == ':' && !inside;
    }
    return n;
}

/* Room for what the names of text say, once and for all: pointers into b must last. */
static bool patch_reserve(struct buf *b, struct kist_bytes text)
{
    return !text.len || !memchr(text.ptr, '\\', text.len) || buf_reserve(b, text.len);
}

static int patch_init(struct patch *p, struct kist_bytes target, struct kist_bytes text, struct buf *out)
{
    *p = (struct patch){.room = patch_count(text), .out = out};
    buf_init(&p->names, true);
    buf_init(&p->scratch, true);
    if (p->room > JSON_PATCH_MAX)
        return KIST_ETOOBIG;
    p->nodes = os_calloc(p->room * sizeof *p->nodes);
    p->index = os_calloc(p->room * sizeof(struct patch_node *));
    if (!p->nodes || !p->index || !patch_reserve(&p->names, text) || !patch_reserve(&p->scratch, target))
        return KIST_ENOMEM;
    return 0;
}

static void patch_done(struct patch *p)
{
    os_free(p->nodes); /* pointers and lengths only */
    os_free(p->index);
    buf_done(&p->names);
    buf_done(&p->scratch);
}

/* What a name says: itself where it has no escapes, else decoded into b. */
static struct kist_bytes patch_name(struct kist_bytes written, struct buf *b)
{
    struct kist_bytes inner = {(const uint8_t *)written.ptr + 1, written.len - 2};
    if (!memchr(inner.ptr, '\\', inner.len))
        return inner;
    size_t at = b->len;
    (void)json_text_loose(written, b); /* half a pair is a name like any other, as long as it is only compared */
    return (struct kist_bytes){b->data + at, b->len - at};
}

static int patch_compare(const void *a, const void *b)
{
    const struct patch_node *x = *(struct patch_node *const *)a, *y = *(struct patch_node *const *)b;
    int c = bytes_compare(x->name.ptr, x->name.len, y->name.ptr, y->name.len);
    return c ? c : x < y ? -1 : x > y; /* nodes are in the order of the text */
}

static bool patch_same_name(const struct patch_node *x, const struct patch_node *y)
{
    return bytes_compare(x->name.ptr, x->name.len, y->name.ptr, y->name.len) == 0;
}

/* Sort the members of an object by name; of a doubled name the last one stays. */
static void patch_sort(struct patch *p, struct patch_node *object)
{
    struct patch_node **index = p->index + p->indexed;
    size_t n = 0, kept = 0;
    for (struct patch_node *c = object->child; c; c = c->next)
        index[n++] = c;
    p->indexed += n;
    if (n > 1)
        qsort(index, n, sizeof(struct patch_node *), patch_compare);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || !patch_same_name(index[i], index[i + 1]))
            index[kept++] = index[i];
    object->index = index;
    object->count = kept;
}

static void patch_parse(struct patch *p, struct json_members *m, struct patch_node *node);

/* The members of an object behind its opening brace. */
static void patch_parse_object(struct patch *p, struct json_members *m, struct patch_node *object)
{
    struct patch_node **tail = &object->child;
    struct kist_bytes written;
    object->object = true;
    m->p++;
    while (json_members_name(m, &written)) {
        assert(p->used < p->room);
        struct patch_node *c = &p->nodes[p->used++];
        c->written = written;
        c->name = patch_name(written, &p->names);
        patch_parse(p, m, c);
        *tail = c;
        tail = &c->next;
    }
    m->p++;
    patch_sort(p, object);
}

/* The value at m->p. */
static void patch_parse(struct patch *p, struct json_members *m, struct patch_node *node)
{
    if (*m->p == '{') {
        patch_parse_object(p, m, node);
        return;
    }
    node->value = json_members_value(m);
    node->null = *(const uint8_t *)node->value.ptr == 'n';
}

static struct patch_node *patch_find(struct patch *p, const struct patch_node *object, struct kist_bytes written)
{
    buf_reset(&p->scratch);
    struct patch_node wanted = {.name = patch_name(written, &p->scratch)};
    size_t low = 0, high = object->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct patch_node *c = object->index[middle];
        int order = bytes_compare(wanted.name.ptr, wanted.name.len, c->name.ptr, c->name.len);
        if (order == 0)
            return c;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static void patch_add_name(struct patch *p, struct kist_bytes written, bool *io_first)
{
    if (!*io_first)
        buf_add_u8(p->out, ',');
    *io_first = false;
    buf_add(p->out, written.ptr, written.len);
    buf_add_u8(p->out, ':');
}

static void patch_apply(struct patch *p, struct json_members *target, struct patch_node *object);

/* The target's member whose value is at target->p. */
static void patch_apply_member(struct patch *p, struct json_members *target, struct kist_bytes written, struct patch_node *c,
                               bool *io_first)
{
    if (c && c->object && *target->p == '{') {
        patch_add_name(p, written, io_first);
        patch_apply(p, target, c);
        return;
    }
    struct kist_bytes value = json_members_value(target);
    if (c && c->null)
        return;
    patch_add_name(p, written, io_first);
    if (c && c->object)
        patch_apply(p, NULL, c);
    else if (c)
        buf_add(p->out, c->value.ptr, c->value.len);
    else
        buf_add(p->out, value.ptr, value.len);
}

/* What the patch brings and the target did not have. */
static void patch_apply_rest(struct patch *p, struct patch_node *object, bool *io_first)
{
    for (struct patch_node *c = object->child; c; c = c->next) {
        if (c->done || c->null)
            continue;
        patch_add_name(p, c->written, io_first);
        if (c->object)
            patch_apply(p, NULL, c);
        else
            buf_add(p->out, c->value.ptr, c->value.len);
    }
}

/* Write target (at its opening brace, left behind its closing one; NULL: {}) as changed by object.
 */
static void patch_apply(struct patch *p, struct json_members *target, struct patch_node *object)
{
    bool first = true;
    struct kist_bytes written;
    for (struct patch_node *c = object->child; c; c = c->next)
        c->done = true;
    for (size_t i = 0; i < object->count; i++)
        object->index[i]->done = false;
    buf_add_u8(p->out, '{');
    if (target) {
        target->p++;
        while (json_members_name(target, &written)) {
            struct patch_node *c = patch_find(p, object, written);
            patch_apply_member(p, target, written, c, &first);
            if (c)
                c->done = true;
        }
        target->p++;
    }
    patch_apply_rest(p, object, &first);
    buf_add_u8(p->out, '}');
}

static int patch_merge_object(struct kist_bytes target, struct kist_bytes text, struct buf *out)
{
    struct patch p;
    struct json_members m = {text.ptr}, t = {target.ptr};
    int r = patch_init(&p, target, text, out);
    if (r < 0)
        goto done;
    p.used = 1;
    patch_parse_object(&p, &m, &p.nodes[0]);
    patch_apply(&p, target.len && *t.p == '{' ? &t : NULL, &p.nodes[0]);
    assert(buf_status(&p.names) == 0 && buf_status(&p.scratch) == 0);
    r = buf_status(out);
done:
    patch_done(&p);
    return r;
}

int json_merge_patch(struct kist_bytes target, struct kist_bytes patch, struct buf *out)
{
    size_t before = out->len;
    if (json_check(patch) < 0)
        return KIST_EJSON;
    if (target.len && json_check(target) < 0)
        return KIST_ETYPE;
    struct kist_bytes text = json_trim(patch);
    int r;
    if (*(const uint8_t *)text.ptr == '{') {
        r = patch_merge_object(target.len ? json_trim(target) : target, text, out);
    } else {
        buf_add(out, text.ptr, text.len);
        r = buf_status(out);
    }
    if (r < 0)
        out->len = before;
    return r;
}
