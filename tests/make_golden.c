/* make_golden.c: what is in the golden store, and how it is made. Included by test_golden.c; a
 * program run as
 *
 *     test_golden --make tests/golden/v1
 *     test_golden --make tests/golden/v1-aes 2
 *
 * writes a fresh one (the directory must not exist). Do that once for each version of the format
 * and never again: later versions must open what this one wrote. The key is the 32 bytes "golden
 * key of kist, 32 bytes.. !" (raw); the clock of expiring records does not matter, for they live a
 * thousand years. */
#include "store_model.h"

static const uint8_t golden_key[32] = "golden key of kist, 32 bytes.. !";

struct golden_record {
    const char *bucket;
    struct kist_bytes key, value;
    enum kist_type type;
    bool expires;
};

#define GOLDEN(b, k, v, t, e)                           \
    {                                                   \
        b, {k, sizeof(k) - 1}, {v, sizeof(v) - 1}, t, e \
    }

static const struct golden_record golden_records[] = {
    GOLDEN("default", "raw", "\x00\x01\xfe\xff", KIST_RAW, false),
    GOLDEN("default", "empty", "", KIST_RAW, false),
    GOLDEN("default", "int", "-9223372036854775808", KIST_INT, false),
    GOLDEN("default", "float", "1.5e300", KIST_FLOAT, false),
    GOLDEN("default", "json", "{\"a\": [1, null, \"\xc3\xa9\"]}", KIST_JSON, false),
    GOLDEN("default", "\x00\xff\n", "a key of odd bytes", KIST_RAW, false),
    GOLDEN("default", "overwritten", "the second value", KIST_RAW, false),
    GOLDEN("default", "for long", "a thousand years", KIST_RAW, true),
    GOLDEN("h\xc3\xbcgel", "in a bucket", "with a name", KIST_RAW, false),
    GOLDEN("renamed", "before", "the bucket was renamed", KIST_RAW, false),
};

#define GOLDEN_N (sizeof golden_records / sizeof *golden_records)
#define GOLDEN_MANY 200    /* keys many/000 to many/199 hold their own names */
#define GOLDEN_LARGE 30000 /* bytes of "large": byte i is i * 7 */

static int golden_suite = 1; /* of the store that is made */

static struct kist_options golden_options(void)
{
    struct kist_options o = model_options();
    o.key.ptr = golden_key;
    o.suite = golden_suite;
    return o;
}

static void golden_large(uint8_t *out)
{
    for (size_t i = 0; i < GOLDEN_LARGE; i++)
        out[i] = (uint8_t)(i * 7);
}

static void golden_make_records(struct kist_store *s, struct kist_bucket *b)
{
    struct kist_bucket *other = NULL;
    static uint8_t large[GOLDEN_LARGE];
    char key[32];
    MODEL_OK(kist_bucket_create(s, "h\xc3\xbcgel", NULL, &other));
    kist_bucket_close(&other);
    MODEL_OK(kist_bucket_create(s, "at first", NULL, &other));
    MODEL_OK(kist_bucket_rename(other, "renamed"));
    kist_bucket_close(&other);
    model_put(b, "overwritten", "the first value");
    model_put(b, "deleted", "must not be there");
    for (size_t i = 0; i < GOLDEN_N; i++) {
        const struct golden_record *r = &golden_records[i];
        struct kist_put_options o = {.size = sizeof o, .type = r->type, .ttl_ms = r->expires ? KIST_TTL_MAX : KIST_TTL_KEEP};
        MODEL_OK(kist_bucket_open(s, r->bucket, &other));
        MODEL_OK(kist_put(other, r->key, r->value, &o, NULL));
        kist_bucket_close(&other);
    }
    for (int i = 0; i < GOLDEN_MANY; i++) {
        snprintf(key, sizeof key, "many/%03d", i);
        model_put(b, key, key);
    }
    golden_large(large);
    MODEL_OK(kist_put(b, KIST_STR("large"), model_bytes(large, sizeof large), NULL, NULL));
    MODEL_OK(kist_delete(b, KIST_STR("deleted"), NULL, NULL, NULL));
}

/* Two sessions, a compaction and a rotation, so that a log segment and a compacted one are in it,
 * under the second data key. */
static void golden_make(const char *path)
{
    struct kist_options o = golden_options();
    struct kist_store *s = NULL;
    struct kist_txn *t = NULL;
    o.mode = KIST_OPEN_NEW;
    MODEL_OK(kist_open(path, &o, &s));
    struct kist_bucket *b = model_default(s);
    golden_make_records(s, b);
    MODEL_OK(kist_compact(s, NULL, NULL));
    MODEL_OK(kist_rotate(s, false, NULL, NULL));
    kist_bucket_close(&b);
    kist_close(&s);
    o.mode = KIST_OPEN_EXISTING;
    MODEL_OK(kist_open(path, &o, &s));
    b = model_default(s);
    MODEL_OK(kist_begin(b, KIST_EXCLUSIVE, &t));
    MODEL_OK(kist_txn_put(t, KIST_STR("txn/1"), KIST_STR("together"), NULL));
    MODEL_OK(kist_txn_put(t, KIST_STR("txn/2"), KIST_STR("together"), NULL));
    MODEL_OK(kist_commit(&t, NULL));
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}
