/* test_cursor.c: walks over ranges, both ways, compared with a list that is walked by hand. */
#include "fixture.h"

static void fill(struct fixture *f, const char *const *keys)
{
    for (; *keys; keys++)
        put(f->bucket, *keys, *keys);
}

/* Everything that next() (or prev()) gives from here on, as one text. */
static const char *walk(struct kist_cursor *c, bool next)
{
    static char text[1000];
    struct kist_record record;
    int r;
    text[0] = '\0';
    while ((r = next ? kist_cursor_next(c, &record) : kist_cursor_prev(c, &record)) == 0) {
        strncat(text, record.key.ptr, record.key.len);
        strncat(text, " ", 2);
    }
    assert_int_equal(r, KIST_EEND);
    return text;
}

static struct kist_cursor *open_range(struct fixture *f, const struct kist_range *range)
{
    struct kist_cursor *c = NULL;
    assert_int_equal(kist_cursor_open(f->bucket, range, &c), 0);
    return c;
}

static const char *const fruit[] = {"apple", "banana", "blueberry", "cherry", "date", NULL};

static void it_walks_in_key_order_both_ways(void **state)
{
    struct fixture *f = *state;
    fill(f, fruit);
    struct kist_cursor *c = open_range(f, NULL);
    assert_string_equal(walk(c, true), "apple banana blueberry cherry date ");
    assert_string_equal(walk(c, false), "date cherry blueberry banana apple ");
    assert_string_equal(walk(c, true), "apple banana blueberry cherry date ");
    kist_cursor_close(&c);
    kist_cursor_close(&c);
    c = open_range(f, NULL);
    assert_string_equal(walk(c, false), "date cherry blueberry banana apple ");
    kist_cursor_close(&c);
}

static void a_reverse_cursor_starts_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct kist_range range = {.size = sizeof range, .reverse = true, .to = KIST_STR("date")};
    fill(f, fruit);
    struct kist_cursor *c = open_range(f, &range);
    assert_string_equal(walk(c, true), "cherry blueberry banana apple ");
    assert_string_equal(walk(c, false), "apple banana blueberry cherry ");
    kist_cursor_close(&c);
}

static void a_range_is_what_lies_in_all_its_bounds(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *prefix, *from, *to, *expected;
    } rows[] = {
        {"b", "", "", "banana blueberry "},
        {"", "banana", "cherry", "banana blueberry "},
        {"", "banan", "cherryx", "banana blueberry cherry "},
        {"b", "blue", "", "blueberry "},
        {"b", "a", "blue", "banana "},
        {"bl", "c", "", ""},
        {"", "date", "apple", ""},
        {"", "e", "", ""},
        {"x", "", "", ""},
        {"", "", "apple", ""},
    };
    fill(f, fruit);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kist_range range = {
            .size = sizeof range, .prefix = bytes(rows[i].prefix), .from = bytes(rows[i].from), .to = bytes(rows[i].to)};
        struct kist_cursor *c = open_range(f, &range);
        assert_string_equal(walk(c, true), rows[i].expected);
        kist_cursor_close(&c);
    }
}

static void a_prefix_of_0xff_has_no_end(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {"\xfe\xff", "\xff", "\xff\xff", "\xff\xff\x01", NULL};
    struct kist_range range = {.size = sizeof range, .prefix = KIST_STR("\xff\xff")};
    fill(f, keys);
    struct kist_cursor *c = open_range(f, &range);
    assert_string_equal(walk(c, true), "\xff\xff \xff\xff\x01 ");
    kist_cursor_close(&c);
    range.prefix = KIST_STR("\xfe\xff");
    c = open_range(f, &range);
    assert_string_equal(walk(c, true), "\xfe\xff ");
    kist_cursor_close(&c);
}

static void expect_step(struct kist_cursor *c, bool next, const char *key)
{
    struct kist_record record;
    int r = next ? kist_cursor_next(c, &record) : kist_cursor_prev(c, &record);
    if (!key) {
        assert_int_equal(r, KIST_EEND);
        return;
    }
    assert_int_equal(r, 0);
    assert_int_equal(record.key.len, strlen(key));
    assert_memory_equal(record.key.ptr, key, record.key.len);
    assert_memory_equal(record.value.ptr, key, record.value.len);
}

static void turning_round_gives_the_neighbour(void **state)
{
    struct fixture *f = *state;
    fill(f, fruit);
    struct kist_cursor *c = open_range(f, NULL);
    expect_step(c, true, "apple");
    expect_step(c, false, NULL);
    expect_step(c, false, NULL);
    expect_step(c, true, "apple");
    expect_step(c, true, "banana");
    expect_step(c, true, "blueberry");
    expect_step(c, false, "banana");
    expect_step(c, true, "blueberry");
    expect_step(c, true, "cherry");
    expect_step(c, true, "date");
    expect_step(c, true, NULL);
    expect_step(c, true, NULL);
    expect_step(c, false, "date");
    kist_cursor_close(&c);
}

static void seek_stands_before_the_key(void **state)
{
    struct fixture *f = *state;
    static const struct {
        bool reverse;
        const char *key, *next, *prev;
    } rows[] = {
        {false, "banana", "banana", "apple"},    {false, "bb", "blueberry", "banana"},
        {false, "zoo", NULL, "cherry"},          {false, "a", "apple", NULL},
        {true, "banana", "banana", "blueberry"}, {true, "bb", "banana", "blueberry"},
        {true, "zoo", "cherry", NULL},           {true, "a", NULL, "apple"},
        {false, "date", NULL, "cherry"},         {true, "cherry", "cherry", NULL},
        {true, "cherryx", "cherry", NULL},
    };
    fill(f, fruit);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kist_range range = {.size = sizeof range, .to = KIST_STR("date"), .reverse = rows[i].reverse};
        struct kist_cursor *c = open_range(f, &range);
        assert_int_equal(kist_cursor_seek(c, bytes(rows[i].key)), 0);
        expect_step(c, true, rows[i].next);
        assert_int_equal(kist_cursor_seek(c, bytes(rows[i].key)), 0);
        expect_step(c, false, rows[i].prev);
        kist_cursor_close(&c);
    }
}

static void seek_takes_a_key_that_the_cursor_lent(void **state)
{
    struct fixture *f = *state;
    struct kist_record record;
    fill(f, fruit);
    struct kist_cursor *c = open_range(f, NULL);
    assert_int_equal(kist_cursor_seek(c, KIST_STR("c")), 0);
    assert_int_equal(kist_cursor_next(c, &record), 0);
    assert_int_equal(kist_cursor_seek(c, record.key), 0);
    expect_step(c, true, "cherry");
    assert_int_equal(kist_cursor_seek(c, (struct kist_bytes){"", 0}), KIST_EINVAL);
    expect_step(c, true, "date");
    kist_cursor_close(&c);
}

static void seek_takes_a_key_out_of_a_value_that_the_cursor_lent(void **state)
{
    struct fixture *f = *state;
    struct kist_record record;
    fill(f, fruit);
    put(f->bucket, "aim", "see cherry");
    struct kist_cursor *c = open_range(f, NULL);
    assert_int_equal(kist_cursor_next(c, &record), 0);
    struct kist_bytes named = {(const char *)record.value.ptr + 4, record.value.len - 4};
    assert_int_equal(kist_cursor_seek(c, named), 0);
    expect_step(c, true, "cherry");
    kist_cursor_close(&c);
}

static void keys_of_the_greatest_length_can_be_walked(void **state)
{
    struct fixture *f = *state;
    static char key[KIST_KEY_MAX];
    struct kist_record record;
    memset(key, 'z', sizeof key);
    fill(f, fruit);
    assert_int_equal(kist_put(f->bucket, (struct kist_bytes){key, sizeof key}, KIST_STR("long"), NULL, NULL), 0);
    struct kist_range range = {.size = sizeof range, .reverse = true};
    struct kist_cursor *c = open_range(f, &range);
    assert_int_equal(kist_cursor_seek(c, (struct kist_bytes){key, sizeof key}), 0);
    assert_int_equal(kist_cursor_next(c, &record), 0);
    assert_int_equal(record.key.len, sizeof key);
    expect_step(c, true, "date");
    kist_cursor_close(&c);
}

static void keys_only_leaves_the_values_sealed(void **state)
{
    struct fixture *f = *state;
    struct kist_range range = {.size = sizeof range, .keys_only = true};
    struct kist_record record;
    fill(f, fruit);
    struct kist_cursor *c = open_range(f, &range);
    assert_int_equal(kist_cursor_next(c, &record), 0);
    assert_null(record.value.ptr);
    assert_int_equal(record.value.len, 5);
    assert_true(record.revision > 0);
    kist_cursor_close(&c);
}

static void it_keeps_its_snapshot_and_skips_the_expired(void **state)
{
    struct fixture *f = *state;
    fill(f, fruit);
    put_ttl(f->bucket, "cc", "x", 1000);
    struct kist_cursor *c = open_range(f, NULL);
    put(f->bucket, "aaa", "new");
    assert_int_equal(kist_delete(f->bucket, KIST_STR("banana"), NULL, NULL, NULL), 0);
    os_clock_skew_ms = 5000;
    assert_string_equal(walk(c, true), "apple banana blueberry cherry date ");
    kist_cursor_close(&c);
}

static void a_transaction_walks_over_its_own_writes(void **state)
{
    struct fixture *f = *state;
    struct kist_txn *t = NULL;
    struct kist_cursor *c = NULL;
    struct kist_record record;
    fill(f, fruit);
    assert_int_equal(kist_begin(f->bucket, KIST_OPTIMISTIC, &t), 0);
    assert_int_equal(kist_txn_put(t, KIST_STR("aaa"), KIST_STR("aaa"), NULL), 0);
    assert_int_equal(kist_txn_cursor_open(t, NULL, &c), 0);
    expect_step(c, true, "aaa");
    expect_step(c, true, "apple");
    assert_int_equal(kist_txn_put(t, KIST_STR("apricot"), KIST_STR("apricot"), NULL), 0);
    assert_int_equal(kist_txn_delete(t, KIST_STR("apple"), NULL, NULL), 0);
    assert_int_equal(kist_txn_delete(t, KIST_STR("cherry"), NULL, NULL), 0);
    expect_step(c, true, "apricot");
    expect_step(c, false, "aaa");
    assert_string_equal(walk(c, true), "apricot banana blueberry date ");
    kist_cursor_close(&c);
    assert_int_equal(kist_txn_cursor_open(t, NULL, &c), 0); /* deleting what one stands on */
    while (kist_cursor_next(c, &record) == 0)
        assert_int_equal(kist_txn_delete(t, record.key, NULL, NULL), 0);
    kist_cursor_close(&c);
    assert_int_equal(kist_commit(&t, NULL), 0);
    uint64_t n = 9;
    assert_int_equal(kist_count(f->bucket, (struct kist_bytes){NULL, 0}, &n), 0);
    assert_int_equal(n, 0);
}

static void what_was_walked_over_is_part_of_the_conflict_check(void **state)
{
    struct fixture *f = *state;
    struct kist_txn *t = NULL;
    struct kist_cursor *c = NULL;
    fill(f, fruit);
    assert_int_equal(kist_begin(f->bucket, KIST_OPTIMISTIC, &t), 0);
    assert_int_equal(kist_txn_cursor_open(t, NULL, &c), 0);
    (void)walk(c, true);
    kist_cursor_close(&c);
    assert_int_equal(kist_txn_put(t, KIST_STR("sum"), KIST_STR("5"), NULL), 0);
    put(f->bucket, "bread", "phantom");
    assert_int_equal(kist_commit(&t, NULL), KIST_ECONFLICT);
}

static void bad_ranges_are_refused(void **state)
{
    struct fixture *f = *state;
    static char key[KIST_KEY_MAX + 1];
    struct kist_cursor *c = NULL;
    struct kist_range range = {.size = sizeof range, .from = {key, sizeof key}};
    assert_int_equal(kist_cursor_open(f->bucket, &range, &c), KIST_ETOOBIG);
    range = (struct kist_range){.size = 0};
    assert_int_equal(kist_cursor_open(f->bucket, &range, &c), KIST_EINVAL);
    assert_int_equal(kist_cursor_open(NULL, NULL, &c), KIST_EINVAL);
    assert_null(c);
}

int main(void)
{
    return FIXTURE_RUN(TEST(it_walks_in_key_order_both_ways), TEST(a_reverse_cursor_starts_at_the_end),
                       TEST(a_range_is_what_lies_in_all_its_bounds), TEST(a_prefix_of_0xff_has_no_end),
                       TEST(turning_round_gives_the_neighbour), TEST(seek_stands_before_the_key),
                       TEST(seek_takes_a_key_that_the_cursor_lent), TEST(seek_takes_a_key_out_of_a_value_that_the_cursor_lent),
                       TEST(keys_of_the_greatest_length_can_be_walked), TEST(keys_only_leaves_the_values_sealed),
                       TEST(it_keeps_its_snapshot_and_skips_the_expired), TEST(a_transaction_walks_over_its_own_writes),
                       TEST(what_was_walked_over_is_part_of_the_conflict_check), TEST(bad_ranges_are_refused));
}
