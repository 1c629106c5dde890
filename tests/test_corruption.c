/* test_corruption.c: a small store is damaged in every way there is: flips, cuts, exchanges; each
 * time it must answer with an error or the right thing, and never with a wrong one.
 *
 * The files of a cleanly closed store are kept in memory. A child writes them with one damage,
 * opens the store, reads everything and verifies; many damages a child, with the number of the
 * present one in a shared page, so that a crash or a hang names it. An answer is wrong when a value
 * differs, a record is missing or too much without any call having failed. Bytes that are all zero
 * (the room ahead of the log) are sampled, the others are flipped one by one. Rolling the whole
 * directory back is the one damage that a store cannot see by itself. */
#include "store_model.c" /* a test program is one source */

#include <sys/mman.h>

#define FILES 16
#define FRAMES 64

struct file {
    char name[64];
    uint8_t *data;
    size_t len;
};

struct image {
    struct file files[FILES];
    size_t n;
};

static char *dir;
static char path[MODEL_PATH_MAX];
static struct image good, stages[3], foreign;
static struct model_bucket truth;
static struct model_bucket once;       /* all that ever was, as key=value: salvage may show an older state of a damaged log */
static size_t frames[FRAMES], frame_n; /* where commits begin in the last segment */
static char last_segment[64];

static struct shared {
    unsigned at;
    unsigned errors, right, bad;
    char what[200];
} * shared;

/* -- images -- */

static void image_load(struct image *i, const char *from)
{
    char names[FILES][64], p[MODEL_PATH_MAX];
    i->n = model_list(from, names, FILES);
    for (size_t k = 0; k < i->n; k++) {
        snprintf(i->files[k].name, sizeof i->files[k].name, "%s", names[k]);
        i->files[k].data = model_file_read(model_join(p, from, names[k]), &i->files[k].len);
    }
}

static void image_free(struct image *i)
{
    for (size_t k = 0; k < i->n; k++)
        free(i->files[k].data);
    i->n = 0;
}

static struct file *image_find(struct image *i, const char *name)
{
    for (size_t k = 0; k < i->n; k++)
        if (strcmp(i->files[k].name, name) == 0)
            return &i->files[k];
    return NULL;
}

static bool is_log(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".log") == 0;
}

static void image_copy(struct image *to, const struct image *from)
{
    *to = *from;
    for (size_t k = 0; k < from->n; k++)
        to->files[k].data = model_dup(from->files[k].data, from->files[k].len);
}

/* Sparse where it is zero at the end. */
static void file_store(const struct file *f)
{
    char p[MODEL_PATH_MAX];
    size_t used = f->len;
    while (used > 0 && f->data[used - 1] == 0)
        used--;
    model_file_write(model_join(p, path, f->name), f->data, used);
    if (used < f->len)
        MODEL_CHECK(truncate(p, (off_t)f->len) == 0, "%s", strerror(errno));
}

static void image_store(const struct image *i)
{
    model_remove_tree(path);
    MODEL_CHECK(mkdir(path, 0700) == 0, "%s", strerror(errno));
    for (size_t k = 0; k < i->n; k++)
        file_store(&i->files[k]);
}

/* -- looking -- */

static bool value_is(struct kist_bytes key, struct kist_bytes value)
{
    bool found;
    size_t at = model_place(&truth, key, &found);
    return found && model_compare(model_bytes(truth.records[at].value, truth.records[at].len), value) == 0;
}

static void once_note(const char *key, const char *value)
{
    char both[128];
    snprintf(both, sizeof both, "%s=%s", key, value);
    model_set(&once, model_text(both), KIST_STR(""), KIST_RAW, 0, 0);
}

static bool value_was(struct kist_bytes key, struct kist_bytes value)
{
    char both[128];
    bool found;
    snprintf(both, sizeof both, "%.*s=%.*s", (int)(key.len < 40 ? key.len : 40), (const char *)key.ptr,
             (int)(value.len < 80 ? value.len : 80), (const char *)value.ptr);
    (void)model_place(&once, model_text(both), &found);
    return found;
}

/* Read everything; true when some call said that something is wrong. */
static int look_code; /* the last one that was not expected */

static bool look_inside(struct kist_store *s, bool salvage)
{
    struct kist_bucket *b = NULL;
    struct kist_cursor *c = NULL;
    struct kist_record r;
    bool said = false;
    size_t n = 0;
    int rc = kist_bucket_open(s, "default", &b);
    if (rc) {
        MODEL_CHECK(salvage || rc == KIST_ECORRUPT, "bucket_open: %s", kist_error_name(rc));
        look_code = rc;
        return true;
    }
    if ((rc = kist_cursor_open(b, NULL, &c)) == 0) {
        while ((rc = kist_cursor_next(c, &r)) == 0) {
            MODEL_CHECK(value_is(r.key, r.value) || (salvage && value_was(r.key, r.value)),
                        "the cursor shows a wrong record: \"%.*s\"", (int)(r.key.len < 20 ? r.key.len : 20),
                        (const char *)r.key.ptr);
            n++;
        }
        kist_cursor_close(&c);
    }
    said = rc != KIST_EEND;
    look_code = said ? rc : 0;
    MODEL_CHECK(salvage || said || n == truth.n, "the cursor shows %zu of %zu records without an error", n, truth.n);
    for (size_t i = 0; i < truth.n; i++) {
        struct kist_value v = {0};
        struct kist_bytes key = model_bytes(truth.records[i].key, truth.records[i].key_len);
        rc = kist_get(b, key, &v);
        MODEL_CHECK(rc || value_is(key, model_bytes(v.data, v.len)) || (salvage && value_was(key, model_bytes(v.data, v.len))),
                    "get gives a wrong value");
        MODEL_CHECK(rc != KIST_ENOKEY || salvage, "\"%.*s\" is missing without an error", (int)key.len, (const char *)key.ptr);
        MODEL_CHECK(rc == 0 || rc == KIST_ECORRUPT || salvage, "get: %s", kist_error_name(rc));
        said |= rc != 0;
        look_code = rc ? rc : look_code;
        kist_value_free(&v);
    }
    struct kist_value v = {0};
    rc = kist_get(b, KIST_STR("deleted"), &v);
    kist_value_free(&v);
    MODEL_CHECK(rc != 0 || salvage, "a deleted record is back");
    kist_bucket_close(&b);
    return said;
}

/* The store at path, damaged: an error or the right answers. */
static void look(enum kist_open_mode mode)
{
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    struct kist_verify_report report = {0};
    struct kist_verify_options v = {.size = sizeof v};
    o.mode = mode;
    o.lock_timeout_ms = 2000;
    int rc = kist_open(path, &o, &s);
    if (rc) {
        MODEL_CHECK(rc == KIST_ECORRUPT || rc == KIST_EKEY || rc == KIST_ENEWER || rc == KIST_ENOTKIST || rc == KIST_ENOSTORE ||
                        rc == KIST_EROLLBACK || rc == KIST_EIO || rc == KIST_ENOTSUP || rc == KIST_EINVAL,
                    "open: %s", kist_error_name(rc));
        shared->errors++;
        return;
    }
    bool said = look_inside(s, mode == KIST_OPEN_SALVAGE);
    rc = kist_verify(s, &v, &report);
    MODEL_CHECK(rc == 0 || rc == KIST_ECORRUPT || rc == KIST_EIO, "verify: %s", kist_error_name(rc));
    bool lock = strncmp(shared->what, "lock", 4) == 0; /* verify looks at the log, and need not care for the lock page */
    MODEL_CHECK(!said || rc || lock || mode == KIST_OPEN_SALVAGE, "reading fails with %s, but verify says that all is well",
                kist_error_name(look_code));
    kist_close(&s);
    if (said || rc)
        shared->errors++;
    else
        shared->right++;
}

/* -- running many damages in children -- */

typedef bool damage_fn(unsigned n, struct image *i, char *what, size_t size); /* false: no damage number n */

static void damage_child(damage_fn *damage, unsigned from, unsigned to, bool (*chosen)(unsigned))
{
    for (unsigned n = from; n < to; n++) {
        struct image copy;
        shared->at = n;
        if (chosen && !chosen(n))
            continue;
        alarm(20);
        image_copy(&copy, &good);
        if (damage(n, &copy, shared->what, sizeof shared->what)) {
            image_store(&copy);
            look(n % 7 == 3 ? KIST_OPEN_READ_ONLY : KIST_OPEN_EXISTING);
            if (n % 5 == 0) {
                image_store(&copy);
                look(KIST_OPEN_SALVAGE);
            }
        }
        image_free(&copy);
    }
    model_exit(0);
}

/* All of [0, count); goes on after a bad one, and fails in the end if there was any. */
static void damage_all(damage_fn *damage, unsigned count, bool (*chosen)(unsigned))
{
    unsigned from = 0, bad = 0;
    int64_t start = model_mono_ms();
    memset(shared, 0, sizeof *shared);
    while (from < count) {
        unsigned to = count - from > 2000 ? from + 2000 : count;
        pid_t pid = model_fork(30);
        if (pid == 0)
            damage_child(damage, from, to, chosen);
        int status = model_wait_status(pid);
        if (status == 0) {
            from = to;
            continue;
        }
        if (++bad <= 20)
            fprintf(stderr, "damage %u (%s): %s %d\n", shared->at, shared->what, WIFSIGNALED(status) ? "signal" : "exit code",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        from = shared->at + 1;
        MODEL_CHECK(bad < 200, "too many to go on");
    }
    printf("%u damages, %u found, %u harmless, %u bad, %lld ms\n", count, shared->errors, shared->right, bad,
           (long long)(model_mono_ms() - start));
    MODEL_CHECK(bad == 0, "%u damages end badly", bad);
    MODEL_CHECK(shared->errors > 0, "no damage was found at all");
}

/* -- flips and cuts -- */

/* Number n over the bytes of all files; false past the end. */
static bool byte_of(struct image *i, unsigned n, struct file **out_f, size_t *out_at)
{
    for (size_t k = 0; k < i->n; k++) {
        if (n < i->files[k].len) {
            *out_f = &i->files[k];
            *out_at = n;
            return true;
        }
        n -= (unsigned)i->files[k].len;
    }
    return false;
}

static unsigned total(const struct image *i)
{
    size_t n = 0;
    for (size_t k = 0; k < i->n; k++)
        n += i->files[k].len;
    return (unsigned)n;
}

/* Near something that is not zero, or one in 997. */
static bool byte_counts(unsigned n)
{
    struct file *f;
    size_t at;
    if (!byte_of(&good, n, &f, &at))
        return false;
    size_t low = at > 8 ? at - 8 : 0, high = at + 8 < f->len ? at + 8 : f->len;
    for (size_t k = low; k < high; k++)
        if (f->data[k])
            return true;
    return n % 997 == 0;
}

static uint8_t flip_mask;

static bool flip(unsigned n, struct image *i, char *what, size_t size)
{
    struct file *f;
    size_t at;
    if (!byte_of(i, n, &f, &at))
        return false;
    f->data[at] ^= flip_mask;
    snprintf(what, size, "%s: byte %zu of %zu ^ 0x%02x", f->name, at, f->len, flip_mask);
    return true;
}

static void a_flipped_bit_is_found_or_harmless(void **state)
{
    (void)state;
    flip_mask = (uint8_t)(1u << (model_mono_ms() % 8));
    damage_all(flip, total(&good), byte_counts);
}

static void a_flipped_byte_is_found_or_harmless(void **state)
{
    (void)state;
    flip_mask = 0xff;
    damage_all(flip, total(&good), byte_counts);
}

static bool cut(unsigned n, struct image *i, char *what, size_t size)
{
    struct file *f;
    size_t at;
    if (!byte_of(i, n, &f, &at))
        return false;
    snprintf(what, size, "%s: cut from %zu to %zu", f->name, f->len, at);
    f->len = at;
    return true;
}

static void a_file_cut_short_is_found_or_harmless(void **state)
{
    (void)state;
    damage_all(cut, total(&good), byte_counts);
}

/* The rest of the file is zero from there on, its length stays. */
static bool blank(unsigned n, struct image *i, char *what, size_t size)
{
    struct file *f;
    size_t at;
    if (!byte_of(i, n, &f, &at))
        return false;
    size_t len = n % 2 ? 64 : f->len - at;
    if (len > f->len - at)
        len = f->len - at;
    snprintf(what, size, "%s: %zu zeros at %zu of %zu", f->name, len, at, f->len);
    memset(f->data + at, 0, len);
    return true;
}

static bool blank_counts(unsigned n)
{
    return byte_counts(n) && n % 3 == 0;
}

static void zeroed_blocks_are_found_or_harmless(void **state)
{
    (void)state;
    damage_all(blank, total(&good), blank_counts);
}

static bool grow(unsigned n, struct image *i, char *what, size_t size)
{
    struct model_prng chance = {n};
    size_t more = 1 + (size_t)model_below(&chance, 5000);
    struct file *f = &i->files[n % i->n];
    snprintf(what, size, "%s: %zu bytes of garbage at the end", f->name, more);
    f->data = realloc(f->data, f->len + more);
    assert_non_null(f->data);
    model_fill(&chance, f->data + f->len, more);
    f->len += more;
    return true;
}

static void garbage_behind_a_file_is_found_or_harmless(void **state)
{
    (void)state;
    damage_all(grow, 60, NULL);
}

/* -- whole files -- */

static void file_take(struct image *i, const char *name, const struct file *from)
{
    struct file *f = image_find(i, name);
    if (!f) {
        MODEL_CHECK(i->n < FILES, "too many files");
        f = &i->files[i->n++];
        snprintf(f->name, sizeof f->name, "%s", name);
        f->data = NULL;
    }
    free(f->data);
    f->len = from->len;
    f->data = model_dup(from->data, from->len);
}

/* One of: remove it; the same of another store; of an older stage; swap it with each other one; a
 * copy under another name. */
static bool exchange(unsigned n, struct image *i, char *what, size_t size)
{
    size_t k = n % good.n;
    unsigned how = n / (unsigned)good.n;
    struct file *f = &i->files[k];
    if (how == 0) {
        snprintf(what, size, "%s removed", f->name);
        free(f->data);
        i->files[k] = i->files[--i->n];
        return true;
    }
    if (how < 5) {
        struct image *source = how == 1 ? &foreign : &stages[how - 2];
        struct file *old = image_find(source, f->name);
        snprintf(what, size, "%s of %s", f->name, how == 1 ? "another store" : "an older stage");
        if (!old || (old->len == f->len && memcmp(old->data, f->data, f->len) == 0))
            return false;
        file_take(i, f->name, old);
        return true;
    }
    size_t other = how - 5;
    if (other < good.n && other > k) {
        snprintf(what, size, "%s and %s swapped", f->name, i->files[other].name);
        struct file t = *f;
        f->data = i->files[other].data;
        f->len = i->files[other].len;
        i->files[other].data = t.data;
        i->files[other].len = t.len;
        return true;
    }
    if (other == good.n && is_log(f->name)) {
        snprintf(what, size, "%s once more, as the last segment", f->name);
        file_take(i, "000000000099.log", &good.files[k]);
        return true;
    }
    return false;
}

static void exchanged_files_are_found_or_harmless(void **state)
{
    (void)state;
    damage_all(exchange, (unsigned)(good.n * (6 + good.n)), NULL);
}

/* -- frames -- */

static void file_splice(struct file *f, size_t at, size_t len, const uint8_t *with, size_t with_len)
{
    size_t rest = f->len - at - len;
    uint8_t *data = calloc(1, f->len + with_len + 1);
    assert_non_null(data);
    memcpy(data, f->data, at);
    if (with_len)
        memcpy(data + at, with, with_len);
    memcpy(data + at + with_len, f->data + at + len, rest);
    free(f->data);
    f->data = data;
    f->len = at + with_len + rest;
}

/* Frames a and b of the last segment: swapped, doubled, removed, replaced by another store's bytes
 * there. */
static bool shuffle(unsigned n, struct image *i, char *what, size_t size)
{
    unsigned a = n % (unsigned)(frame_n - 1), b = n / (unsigned)(frame_n - 1) % (unsigned)(frame_n - 1);
    unsigned how = n / (unsigned)((frame_n - 1) * (frame_n - 1));
    struct file *f = image_find(i, last_segment), *other = image_find(&foreign, last_segment);
    const struct file *g = image_find(&good, last_segment);
    size_t at_a = frames[a], len_a = frames[a + 1] - at_a, at_b = frames[b], len_b = frames[b + 1] - at_b;
    snprintf(what, size, "frames %u (%zu bytes at %zu) and %u (%zu bytes at %zu), way %u", a, len_a, at_a, b, len_b, at_b, how);
    switch (how) {
    case 0: /* swapped */
        if (a >= b)
            return false;
        file_splice(f, at_b, len_b, g->data + at_a, len_a);
        file_splice(f, at_a, len_a, g->data + at_b, len_b);
        return true;
    case 1: /* a once more in front of b, all later ones moved */
        file_splice(f, at_b, 0, g->data + at_a, len_a);
        return true;
    case 2: /* a over b */
        if (len_a != len_b || a == b)
            return false;
        memcpy(f->data + at_b, g->data + at_a, len_a);
        return true;
    case 3: /* a to b removed */
        if (a > b)
            return false;
        file_splice(f, at_a, at_b + len_b - at_a, NULL, 0);
        return true;
    case 4: /* a is another store's */
        if (b || !other || other->len < at_a + len_a)
            return false;
        memcpy(f->data + at_a, other->data + at_a, len_a);
        return memcmp(other->data + at_a, g->data + at_a, len_a) != 0;
    default: /* a replayed behind the last */
        if (b)
            return false;
        file_splice(f, frames[frame_n - 1], len_a < f->len - frames[frame_n - 1] ? len_a : 0, g->data + at_a, len_a);
        return true;
    }
}

static bool shuffle_counts(unsigned n)
{
    return model_scale() > 1 || n % 3 != 1 || n % 7 == 0;
}

static void shuffled_frames_are_found_or_harmless(void **state)
{
    (void)state;
    damage_all(shuffle, (unsigned)(6 * (frame_n - 1) * (frame_n - 1)), shuffle_counts);
}

static void the_undamaged_store_reads_right(void **state)
{
    (void)state;
    memset(shared, 0, sizeof *shared);
    image_store(&good);
    look(KIST_OPEN_EXISTING);
    image_store(&good);
    look(KIST_OPEN_READ_ONLY);
    image_store(&good);
    look(KIST_OPEN_SALVAGE);
    assert_int_equal(shared->right, 3);
}

/* -- making it -- */

static int take(const struct kist_record *r, void *ctx)
{
    model_set(ctx, r->key, r->value, r->type, r->revision, r->expires_ms);
    return 0;
}

/* The newest segment, and the first byte in which it differs from what was seen before: where the
 * last frame begins. */
static void note_frame(struct file *seen)
{
    struct image i;
    image_load(&i, path);
    struct file *last = NULL;
    for (size_t k = 0; k < i.n; k++)
        if (is_log(i.files[k].name))
            last = &i.files[k];
    MODEL_CHECK(last, "no segment");
    if (strcmp(last_segment, last->name) != 0)
        frame_n = 0;
    snprintf(last_segment, sizeof last_segment, "%s", last->name);
    size_t at = 0;
    while (at < seen->len && at < last->len && seen->data[at] == last->data[at])
        at++;
    while (at < last->len && seen->len == 0 && last->data[at])
        at++;
    if (frame_n < FRAMES)
        frames[frame_n++] = at;
    free(seen->data);
    *seen = *last;
    last->data = NULL;
    image_free(&i);
}

static void make_store_at(const char *at, bool remember)
{
    char key[32], value[64];
    struct file seen = {.len = 0};
    for (unsigned stage = 0; stage < 4; stage++) {
        struct kist_store *s = model_open(at);
        struct kist_bucket *b = model_default(s);
        if (stage == 0) {
            model_put(b, "deleted", "must not come back");
            once_note("deleted", "must not come back");
        }
        for (unsigned i = 0; i < 5; i++) {
            snprintf(key, sizeof key, "key %u", (stage * 3 + i) % 9);
            snprintf(value, sizeof value, "value %u of stage %u", i, stage);
            model_put(b, key, value);
            once_note(key, value);
            if (remember && stage == 3)
                note_frame(&seen);
        }
        if (stage == 1)
            MODEL_OK(kist_delete(b, KIST_STR("deleted"), NULL, NULL, NULL));
        if (stage == 1 || stage == 2)
            MODEL_OK(stage == 1 ? kist_compact(s, NULL, NULL) : kist_rotate(s, false, NULL, NULL));
        if (remember && stage == 3)
            MODEL_OK(kist_export(b, NULL, take, &truth));
        kist_bucket_close(&b);
        kist_close(&s);
        if (remember && stage < 3)
            image_load(&stages[stage], path);
    }
    free(seen.data);
}

static int make(void **state)
{
    char other[MODEL_PATH_MAX];
    (void)state;
    dir = model_temp_new();
    model_join(path, dir, "store");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    make_store_at(path, true);
    make_store_at(model_join(other, dir, "other"), false);
    image_load(&good, path);
    image_load(&foreign, other);
    for (size_t k = 0; k < good.n; k++) {
        size_t used = 0;
        for (size_t j = 0; j < good.files[k].len; j++)
            used += good.files[k].data[j] != 0;
        printf("%s: %zu bytes, %zu not zero\n", good.files[k].name, good.files[k].len, used);
    }
    printf("%zu records, %zu frame borders known in %s\n", truth.n, frame_n, last_segment);
    MODEL_CHECK(frame_n >= 4, "frame borders were not found");
    return 0;
}

static int drop(void **state)
{
    (void)state;
    image_free(&good);
    image_free(&foreign);
    for (int i = 0; i < 3; i++)
        image_free(&stages[i]);
    model_bucket_free(&truth);
    model_bucket_free(&once);
    model_temp_free(&dir);
    munmap(shared, sizeof *shared);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_undamaged_store_reads_right),       cmocka_unit_test(a_flipped_bit_is_found_or_harmless),
        cmocka_unit_test(a_flipped_byte_is_found_or_harmless),   cmocka_unit_test(a_file_cut_short_is_found_or_harmless),
        cmocka_unit_test(zeroed_blocks_are_found_or_harmless),   cmocka_unit_test(garbage_behind_a_file_is_found_or_harmless),
        cmocka_unit_test(exchanged_files_are_found_or_harmless), cmocka_unit_test(shuffled_frames_are_found_or_harmless),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
