/* test_keys.c: keys as text through kist.h, and the key slots of a store.
 *
 * cmocka's asserts are not for other threads: those tell by their answer. */
#include "fixture.h"

#include "base/buf.h"
#include "engine/log.h"
#include "model/store.h"

#include <sys/wait.h>
#include <unistd.h>

static const struct kist_secret key_secret = {.kind = KIST_SECRET_KEY, .ptr = fixture_key, .len = 32};
static const struct kist_secret pass = {
    .kind = KIST_SECRET_PASSPHRASE, .ptr = "correct horse", .len = 13, .kdf_ops = 1, .kdf_mem_kib = 8192};
static const uint8_t other_key[32] = {42};
static const struct kist_secret other = {.kind = KIST_SECRET_KEY, .ptr = other_key, .len = 32};

static int reopen(struct fixture *f, const struct kist_secret *secret)
{
    struct kist_options o = fixture_options();
    fixture_close(f);
    o.key = *secret;
    int r = kist_open(f->path, &o, &f->store);
    return r < 0 ? r : kist_bucket_open(f->store, "default", &f->bucket);
}

static void a_key_goes_to_text_and_back(void **state)
{
    uint8_t key[32], again[32] = {0};
    char text[45];
    struct kist_detail detail = {""};
    (void)state;
    assert_int_equal(kist_key_generate(key), 0);
    kist_key_format(key, text);
    assert_int_equal(strlen(text), 44);
    assert_int_equal(kist_key_parse(bytes(text), again, &detail), 0);
    assert_memory_equal(key, again, 32);
    assert_int_equal(kist_key_parse(KIST_STR("nonsense"), again, &detail), KIST_EINVAL);
    assert_int_not_equal(detail.text[0], '\0');
    assert_memory_equal(key, again, 32);
    memset(key, 0, sizeof key);
    assert_int_equal(kist_key_parse((struct kist_bytes){key, 32}, again, NULL), KIST_EINVAL);
    assert_int_equal(kist_key_parse((struct kist_bytes){NULL, 0}, again, NULL), KIST_EINVAL);
    assert_int_equal(kist_key_generate(NULL), KIST_EINVAL);
}

static void each_slot_opens_the_store(void **state)
{
    struct fixture *f = *state;
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    size_t n = 0;
    int slot = -1;
    if (!f->dir[0])
        skip();
    put(f->bucket, "k", "v");
    assert_int_equal(kist_slot_add(f->store, &pass, "laptop", &slot), 0);
    assert_int_equal(slot, 1);
    assert_int_equal(kist_slot_list(f->store, slots, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(slots[0].kind, KIST_SECRET_KEY);
    assert_int_equal(slots[1].kind, KIST_SECRET_PASSPHRASE);
    assert_string_equal(slots[1].label, "laptop");
    assert_int_equal(reopen(f, &pass), 0);
    expect(f->bucket, "k", "v");
    assert_int_equal(kist_slot_remove(f->store, 0), 0);
    assert_int_equal(kist_slot_remove(f->store, 0), KIST_EINVAL);
    assert_int_equal(kist_slot_remove(f->store, 8), KIST_EINVAL);
    assert_int_equal(kist_slot_remove(f->store, -1), KIST_EINVAL);
    assert_int_equal(kist_slot_remove(f->store, 1), KIST_EDENIED);
    assert_int_equal(reopen(f, &key_secret), KIST_EKEY);
    assert_int_equal(reopen(f, &pass), 0);
}

static void changing_a_secret_needs_the_old_one(void **state)
{
    struct fixture *f = *state;
    if (!f->dir[0])
        skip();
    assert_int_equal(kist_slot_change(f->store, &other, &pass), KIST_EKEY);
    assert_int_equal(kist_slot_change(f->store, &key_secret, &other), 0);
    assert_int_equal(reopen(f, &key_secret), KIST_EKEY);
    assert_int_equal(reopen(f, &other), 0);
}

/* A passphrase that somebody has seen must not go on opening the store by another slot. */
static void a_changed_secret_is_changed_in_every_slot(void **state)
{
    struct fixture *f = *state;
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    size_t n = 0;
    if (!f->dir[0])
        skip();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kist_slot_add(f->store, &pass, "pass", NULL), 0);
        assert_int_equal(kist_slot_add(f->store, &other, "other", NULL), 0);
    }
    assert_int_equal(kist_slot_change(f->store, &other, &key_secret), 0);
    assert_int_equal(kist_slot_change(f->store, &pass, &other), 0);
    assert_int_equal(kist_slot_list(f->store, slots, &n), 0);
    assert_int_equal(n, 3); /* the first key, and one each for the two that were changed */
    assert_int_equal(slots[1].slot, 1);
    assert_string_equal(slots[1].label, "pass");
    assert_int_equal(slots[1].kind, KIST_SECRET_KEY);
    assert_int_equal(slots[2].slot, 2);
    assert_int_equal(reopen(f, &pass), KIST_EKEY);
    assert_int_equal(reopen(f, &other), 0);
}

static void a_secret_may_be_changed_to_itself(void **state)
{
    struct fixture *f = *state;
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    size_t n = 0;
    if (!f->dir[0])
        skip();
    assert_int_equal(kist_slot_add(f->store, &key_secret, "again", NULL), 0);
    assert_int_equal(kist_slot_change(f->store, &key_secret, &key_secret), 0);
    assert_int_equal(kist_slot_list(f->store, slots, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(reopen(f, &key_secret), 0);
}

static void opening_with_the_second_slot_leaves_no_sentence(void **state)
{
    struct fixture *f = *state;
    struct kist_detail detail;
    if (!f->dir[0])
        skip();
    assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), 0);
    assert_int_equal(reopen(f, &other), 0);
    kist_detail(f->store, &detail);
    assert_string_equal(detail.text, "");
}

static void passphrases_have_a_price_together(void **state)
{
    const struct kist_secret dear = {KIST_SECRET_PASSPHRASE, "dear", 4, 16, 1048576};
    struct fixture *f = *state;
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    struct kist_detail detail;
    size_t n = 0;
    if (!f->dir[0])
        skip();
    assert_int_equal(kist_slot_add(f->store, &pass, NULL, NULL), 0);
    assert_int_equal(kist_slot_add(f->store, &dear, NULL, NULL), KIST_ETOOBIG);
    kist_detail(f->store, &detail);
    assert_non_null(strstr(detail.text, "16384 MiB"));
    assert_non_null(strstr(detail.text, "kdf_ops"));
    assert_int_equal(kist_slot_change(f->store, &key_secret, &dear), KIST_ETOOBIG);
    assert_int_equal(kist_slot_list(f->store, slots, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(reopen(f, &key_secret), 0);
}

static int to_buf(const void *data, size_t len, void *ctx)
{
    buf_add(ctx, data, len);
    return buf_status(ctx);
}

struct from {
    const struct buf *b;
    size_t at;
};

static int from_buf(void *data, size_t len, size_t *out_n, void *ctx)
{
    struct from *f = ctx;
    size_t n = f->b->len - f->at < len ? f->b->len - f->at : len;
    memcpy(data, f->b->data + f->at, n);
    f->at += n;
    *out_n = n;
    return 0;
}

/* Its costs are those of the store at home, and of a stranger who says that it is one. */
static void a_backup_that_costs_too_much_is_refused_unless_it_is_trusted(void **state)
{
    struct kist_secret dear = {KIST_SECRET_PASSPHRASE, "seven", 5, 7, 8192};
    struct fixture *f = *state;
    struct kist_options o = fixture_options();
    struct kist_detail detail = {""};
    struct buf b;
    char path[290];
    if (!f->dir[0])
        skip();
    snprintf(path, sizeof path, "%s/copy", f->dir);
    assert_int_equal(kist_slot_add(f->store, &dear, NULL, NULL), 0);
    buf_init(&b, false);
    assert_int_equal(kist_backup(f->store, 0, to_buf, &b, NULL), 0);
    o.detail = &detail;
    o.key = dear;
    o.key.kdf_ops = 0;
    assert_int_equal(kist_restore(path, &o, from_buf, &(struct from){.b = &b}), KIST_ETOOBIG);
    assert_non_null(strstr(detail.text, "7 passes"));
    assert_non_null(strstr(detail.text, "limit of 6 "));
    assert_non_null(strstr(detail.text, "kdf_mem_kib"));
    o.key.kdf_ops = 7;
    assert_int_equal(kist_restore(path, &o, from_buf, &(struct from){.b = &b}), 0);
    o.key.kdf_ops = 1; /* the store at home opens whatever it costs */
    assert_int_equal(reopen(f, &o.key), 0);
    buf_done(&b);
}

/* -- threads -- */

static struct kist_store *shared_store;
static _Atomic int header_reads; /* 0: armed · 1: the header is being read · 2: done */
static _Atomic int added;

static void *add_a_slot(void *ctx)
{
    int *out = ctx;
    *out = kist_slot_add(shared_store, &other, NULL, NULL);
    return NULL;
}

/* Between the first reading of the header and what is made of it, another thread changes it. */
static int change_it_meanwhile(const struct os_call *call)
{
    int armed = 0, reading = 1, r = KIST_EIO;
    pthread_t thread;
    if (call->kind == OS_OPEN && call->name && strcmp(call->name, "header") == 0)
        (void)atomic_compare_exchange_strong(&header_reads, &armed, 1);
    if (call->kind != OS_CLOSE || !atomic_compare_exchange_strong(&header_reads, &reading, 2))
        return 0;
    if (pthread_create(&thread, NULL, add_a_slot, &r) == 0)
        (void)pthread_join(thread, NULL);
    added = r;
    return 0;
}

static void a_header_that_another_thread_took_over_meanwhile_is_no_rollback(void **state)
{
    struct fixture *f = *state;
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    size_t n = 0;
    if (!f->dir[0])
        skip();
    shared_store = f->store;
    header_reads = 0;
    os_hook = change_it_meanwhile;
    int r = kist_slot_list(f->store, slots, &n);
    os_hook = NULL;
    assert_int_equal(header_reads, 2);
    assert_int_equal(added, 0);
    assert_int_equal(r, 0);
    assert_int_equal(n, 2);
}

static void overwrite(const struct fixture *f, const uint8_t *bytes_of, size_t len)
{
    char path[320];
    snprintf(path, sizeof path, "%s/header", f->path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes_of, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static size_t header_of(const struct fixture *f, uint8_t out[8192])
{
    char path[320];
    snprintf(path, sizeof path, "%s/header", f->path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(out, 1, 8192, file);
    assert_int_equal(fclose(file), 0);
    return n;
}

static void an_older_header_that_was_put_back_is_a_rollback(void **state)
{
    struct fixture *f = *state;
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    uint8_t old[8192], new[8192];
    size_t n = 0;
    if (!f->dir[0])
        skip();
    size_t old_len = header_of(f, old);
    assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), 0);
    size_t new_len = header_of(f, new);
    overwrite(f, old, old_len);
    assert_int_equal(kist_slot_list(f->store, slots, &n), KIST_EROLLBACK);
    assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), KIST_EROLLBACK);
    overwrite(f, new, new_len);
    assert_int_equal(kist_slot_list(f->store, slots, &n), 0);
    assert_int_equal(n, 2);
}

#define ROUNDS 30

static _Atomic bool listing;

static void *list_slots(void *ctx)
{
    struct kist_slot_info slots[KIST_SLOTS_MAX];
    size_t n;
    int *out = ctx, r = 0;
    while (r == 0 && listing)
        r = kist_slot_list(shared_store, slots, &n);
    *out = r;
    return NULL;
}

static void slots_are_listed_while_they_change(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[2];
    int answers[2] = {KIST_EIO, KIST_EIO}, slot = -1;
    if (!f->dir[0])
        skip();
    shared_store = f->store;
    listing = true;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, list_slots, &answers[i]), 0);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(kist_slot_add(f->store, &other, NULL, &slot), 0);
        assert_int_equal(kist_slot_remove(f->store, slot), 0);
    }
    listing = false;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(answers[i], 0);
    }
}

/* -- fork -- */

static bool all_zero(const uint8_t *p, size_t len)
{
    unsigned any = 0;
    for (size_t i = 0; i < len; i++)
        any |= p[i];
    return any == 0;
}

/* Locks on memory are not inherited, so a child's copy could be swapped out. */
static void a_child_of_fork_has_no_keys(void **state)
{
    struct fixture *f = *state;
    int status = -1;
    put(f->bucket, "k", "v");
    const struct log *log = (const struct log *)f->store->engine;
    const uint8_t *keys[] = {log->check_key, log->shared.check_key, log->active->data_key, keyring_data_key(log->keyring, 1)};
    static const size_t lens[] = {16, 16, SEAL_KEY, SEAL_KEY};
    for (int i = 0; i < 4; i++)
        assert_false(all_zero(keys[i], lens[i]));
    pid_t child = fork();
    if (child == 0) {
        int left = 0;
        for (int i = 0; i < 4; i++)
            left += !all_zero(keys[i], lens[i]);
        fixture_close(f);
        _exit(left);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    put(f->bucket, "k", "still there");
    expect(f->bucket, "k", "still there");
}

static void there_is_an_end_of_slots_and_labels(void **state)
{
    struct fixture *f = *state;
    if (!f->dir[0])
        skip();
    for (int i = 1; i < KIST_SLOTS_MAX; i++)
        assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), 0);
    assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), KIST_EFULL);
    assert_int_equal(kist_slot_remove(f->store, 3), 0);
    assert_int_equal(kist_slot_add(f->store, &other, "0123456789012345678901234567890!", NULL), KIST_ETOOBIG);
    int slot = -1;
    assert_int_equal(kist_slot_add(f->store, &other, "012345678901234567890123456789!", &slot), 0);
    assert_int_equal(slot, 3);
}

static void memory_has_no_slots(void **state)
{
    struct fixture *f = *state;
    if (f->dir[0])
        skip();
    assert_int_equal(kist_slot_change(f->store, &key_secret, &other), KIST_ENOTSUP);
    assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), KIST_ENOTSUP);
}

static void rotation_seals_everything_anew(void **state)
{
    struct fixture *f = *state;
    struct kist_stat s = {.size = sizeof s};
    struct kist_verify_report report;
    if (!f->dir[0])
        skip();
    put(f->bucket, "k", "v");
    assert_int_equal(kist_stat(f->store, &s), 0);
    uint32_t before = s.key_generation;
    assert_int_equal(kist_rotate(f->store, false, NULL, NULL), 0);
    assert_int_equal(kist_stat(f->store, &s), 0);
    assert_int_equal(s.key_generation, before + 1);
    assert_int_equal(kist_verify(f->store, NULL, &report), 0);
    assert_int_equal(report.old_key_frames, 0);
    expect(f->bucket, "k", "v");
    assert_int_equal(reopen(f, &key_secret), 0);
    expect(f->bucket, "k", "v");
}

int main(void)
{
    return FIXTURE_RUN(TEST(a_key_goes_to_text_and_back), TEST(each_slot_opens_the_store),
                       TEST(changing_a_secret_needs_the_old_one), TEST(a_changed_secret_is_changed_in_every_slot),
                       TEST(a_secret_may_be_changed_to_itself), TEST(opening_with_the_second_slot_leaves_no_sentence),
                       TEST(passphrases_have_a_price_together),
                       TEST(a_backup_that_costs_too_much_is_refused_unless_it_is_trusted),
                       TEST(a_header_that_another_thread_took_over_meanwhile_is_no_rollback),
                       TEST(an_older_header_that_was_put_back_is_a_rollback), TEST(slots_are_listed_while_they_change),
                       TEST(a_child_of_fork_has_no_keys), TEST(there_is_an_end_of_slots_and_labels), TEST(memory_has_no_slots),
                       TEST(rotation_seals_everything_anew));
}
