/* test_keys.c: keys as text through kist.h, and the key slots of a store. */
#include "fixture.h"

static const struct kist_secret key_secret = {
    .kind = KIST_SECRET_KEY, .ptr = fixture_key, .len = 32};
static const struct kist_secret pass = {.kind = KIST_SECRET_PASSPHRASE,
                                        .ptr = "correct horse",
                                        .len = 13,
                                        .kdf_ops = 1,
                                        .kdf_mem_kib = 8192};
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

static void there_is_an_end_of_slots_and_labels(void **state)
{
    struct fixture *f = *state;
    if (!f->dir[0])
        skip();
    for (int i = 1; i < KIST_SLOTS_MAX; i++)
        assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), 0);
    assert_int_equal(kist_slot_add(f->store, &other, NULL, NULL), KIST_EFULL);
    assert_int_equal(kist_slot_remove(f->store, 3), 0);
    assert_int_equal(kist_slot_add(f->store, &other, "0123456789012345678901234567890!", NULL),
                     KIST_ETOOBIG);
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
                       TEST(changing_a_secret_needs_the_old_one),
                       TEST(there_is_an_end_of_slots_and_labels), TEST(memory_has_no_slots),
                       TEST(rotation_seals_everything_anew));
}
