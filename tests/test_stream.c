/* test_stream.c: a stream gives back what was written and then ends; cut, changed or longer, it
 * never ends well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/os.h"
#include "crypt/secret.h"
#include "crypt/stream.h"

static const uint8_t magic[STREAM_MAGIC] = {'K', 'I', 'S', 'T', 'T', 'E', 'S', 'T'};
static const uint8_t key[32] = "a raw key of exactly 32 bytes...";
static const uint8_t key_b[32] = "another raw key of just 32 bytes";
static const struct unlock raw = {.kind = UNLOCK_RAW, .ptr = key, .len = 32};
static const struct unlock direct = {.kind = UNLOCK_DIRECT, .ptr = key, .len = 32};
static const struct unlock other = {.kind = UNLOCK_RAW, .ptr = key_b, .len = 32};
static const struct unlock phrase = {
    .kind = UNLOCK_PASSPHRASE, .ptr = "correct horse", .len = 13, .ops = UNLOCK_OPS_MIN, .mem = UNLOCK_MEM_MIN};

static int calls_left;

static int refuse(const struct os_call *call)
{
    if (call->kind != OS_ALLOC && call->kind != OS_RANDOM)
        return 0;
    return calls_left-- > 0 ? 0 : call->kind == OS_ALLOC ? -ENOMEM : -EIO;
}

static int no_hook(void **state)
{
    (void)state;
    os_hook = NULL;
    return 0;
}

/* What the writer writes to, failing when room is used up. */
struct sink {
    struct buf b;
    size_t room;
};

static int sink_take(void *ctx, const void *p, size_t len)
{
    struct sink *s = ctx;
    if (s->b.len + len > s->room)
        return KIST_ENOSPC;
    buf_add(&s->b, p, len);
    return buf_status(&s->b);
}

/* What the reader reads from: step bytes at a time, failing at fail_at. */
struct source {
    const uint8_t *p;
    size_t len, at, step, fail_at;
};

static int source_give(void *ctx, void *p, size_t len, size_t *out_n)
{
    struct source *s = ctx;
    size_t n = bytes_min(bytes_min(len, s->step), s->len - s->at);
    if (s->at >= s->fail_at)
        return KIST_EIO;
    if (n)
        memcpy(p, s->p + s->at, n);
    s->at += n;
    *out_n = n;
    return 0;
}

static uint8_t *text_of(size_t len)
{
    uint8_t *p = malloc(len + 1);
    assert_non_null(p);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 31 + (i >> 8));
    return p;
}

static struct buf seal_with(const struct unlock *u, const void *p, size_t len, size_t step)
{
    struct sink s = {.room = SIZE_MAX};
    struct stream_writer *w = NULL;
    buf_init(&s.b, false);
    assert_int_equal(stream_write_begin(magic, u, "context", 7, sink_take, &s, &w), 0);
    for (size_t at = 0; at < len; at += step)
        assert_int_equal(stream_write(w, (const uint8_t *)p + at, bytes_min(step, len - at)), 0);
    assert_int_equal(stream_write_end(&w), 0);
    assert_null(w);
    return s.b;
}

/* Read all of it in pieces; whatever comes out must be a prefix of want, and all of it if 0 is
 * answered. */
static int open_in(struct source *s, const struct unlock *u, const uint8_t *want, size_t want_len, size_t piece)
{
    struct stream_reader *r = NULL;
    struct error_detail d = {.text = ""};
    uint8_t *got = malloc(piece);
    size_t at = 0, n = 1;
    assert_non_null(got);
    int rc = stream_read_begin(magic, u, source_give, s, &r, &d);
    if (rc) {
        assert_null(r);
        assert_true(rc == KIST_EIO || rc == KIST_ENOMEM || d.text[0]);
        free(got);
        return rc;
    }
    while (n && (rc = stream_read(r, got, piece, &n)) == 0) {
        assert_true(at + n <= want_len);
        if (n)
            assert_memory_equal(got, want + at, n);
        at += n;
        assert_true(n == piece || at == want_len);
    }
    if (rc) {
        assert_int_equal(stream_read(r, got, piece, &n), rc); /* it stays broken */
        assert_int_equal(stream_read_end(&r), rc);
    } else {
        assert_int_equal(at, want_len);
        rc = stream_read_end(&r);
    }
    assert_null(r);
    free(got);
    return rc;
}

static int open_bytes(const uint8_t *p, size_t len, const struct unlock *u, const uint8_t *want, size_t want_len)
{
    struct source s = {.p = p, .len = len, .step = SIZE_MAX, .fail_at = SIZE_MAX};
    return open_in(&s, u, want, want_len, 100000);
}

static void every_length_around_a_chunk_comes_back(void **state)
{
    static const size_t lengths[] = {0, 1, 17, 1000, 65535, 65536, 65537, 131071, 131072, 131073, 300000};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len = lengths[i], chunks = len ? (len + STREAM_CHUNK - 1) / STREAM_CHUNK : 1;
        uint8_t *text = text_of(len);
        struct buf b = seal_with(&raw, text, len, 70001);
        assert_int_equal(b.len, STREAM_HEADER_MIN + 7 + len + 21 * chunks);
        assert_int_equal(open_bytes(b.data, b.len, &raw, text, len), 0);
        buf_done(&b);
        free(text);
    }
}

static void any_size_of_pieces_will_do(void **state)
{
    static const size_t steps[] = {1, 13, 4096, 65536, 200000};
    enum { LEN = 150000 };
    uint8_t *text = text_of(LEN);
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct buf b = seal_with(&raw, text, LEN, steps[i]);
        struct source s = {.p = b.data, .len = b.len, .step = steps[i], .fail_at = SIZE_MAX};
        assert_int_equal(open_in(&s, &raw, text, LEN, steps[i]), 0);
        buf_done(&b);
    }
    free(text);
}

static void each_way_to_unlock_opens_its_own_streams_only(void **state)
{
    const struct unlock *all[] = {&raw, &phrase, &direct, &other};
    uint8_t *text = text_of(50);
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct stream_info info;
        struct buf b = seal_with(all[i], text, 50, 50);
        assert_int_equal(stream_peek(b.data, b.len, magic, &info), 0);
        assert_int_equal(info.kind, all[i]->kind);
        assert_int_equal(info.mem, i == 1 ? UNLOCK_MEM_MIN : 0);
        for (int j = 0; j < 4; j++)
            assert_int_equal(open_bytes(b.data, b.len, all[j], text, 50), i == j ? 0 : KIST_EKEY);
        buf_done(&b);
    }
    struct buf b = seal_with(&phrase, text, 50, 50);
    struct unlock wrong = {.kind = UNLOCK_PASSPHRASE, .ptr = "correct horsf", .len = 13};
    assert_int_equal(open_bytes(b.data, b.len, &wrong, text, 50), KIST_EKEY);
    buf_done(&b);
    free(text);
}

static void the_context_is_readable_and_authentic(void **state)
{
    struct buf b = seal_with(&raw, "x", 1, 1);
    struct source s = {.p = b.data, .len = b.len, .step = SIZE_MAX, .fail_at = SIZE_MAX};
    struct stream_reader *r = NULL;
    size_t len = 0;
    (void)state;
    assert_int_equal(stream_read_begin(magic, &raw, source_give, &s, &r, NULL), 0);
    const uint8_t *context = stream_read_context(r, &len);
    assert_int_equal(len, 7);
    assert_memory_equal(context, "context", 7);
    assert_int_equal(stream_read_end(&r), 0); /* reads the rest by itself */
    assert_null(r);
    buf_done(&b);
}

static void peeking_tells_streams_from_other_bytes(void **state)
{
    static const uint8_t foreign[STREAM_MAGIC] = {'K', 'I', 'S', 'T', 'H', 'E', 'A', 'D'};
    struct buf b = seal_with(&phrase, "x", 1, 1);
    struct stream_info info;
    (void)state;
    assert_int_equal(stream_peek(b.data, STREAM_PEEK, magic, &info), 0);
    assert_int_equal(info.ops, UNLOCK_OPS_MIN);
    assert_int_equal(stream_peek(b.data, STREAM_PEEK, foreign, &info), KIST_ENOTKIST);
    assert_int_equal(stream_peek("PK\3\4", 4, magic, &info), KIST_ENOTKIST);
    for (size_t len = 0; len < STREAM_PEEK; len++)
        assert_int_equal(stream_peek(b.data, len, magic, &info), KIST_ECORRUPT);
    b.data[8] = 2;
    assert_int_equal(stream_peek(b.data, 10, magic, &info), KIST_ENEWER);
    b.data[8] = 1;
    bytes_put64(b.data + 24, (uint64_t)1 << 62);
    assert_int_equal(stream_peek(b.data, STREAM_PEEK, magic, &info), KIST_ECORRUPT);
    buf_done(&b);
}

static void kdf_costs_of_an_enemy_are_refused(void **state)
{
    struct buf b = seal_with(&phrase, "x", 1, 1);
    (void)state;
    for (int field = 16; field <= 24; field += 8) {
        struct source s = {.p = b.data, .len = b.len, .step = SIZE_MAX, .fail_at = SIZE_MAX};
        struct stream_reader *r = NULL;
        struct error_detail d = {.text = ""};
        uint64_t was = bytes_get64(b.data + field);
        bytes_put64(b.data + field, (uint64_t)1 << 62);
        crypto_generichash(b.data + 119, 16, b.data, 119, NULL, 0); /* the enemy mends the checksum */
        assert_int_equal(stream_read_begin(magic, &phrase, source_give, &s, &r, &d), KIST_ECORRUPT);
        assert_non_null(strstr(d.text, "4611686018427387904"));
        assert_null(r);
        bytes_put64(b.data + field, was);
    }
    buf_done(&b);
}

static void every_changed_byte_is_found(void **state)
{
    enum { LEN = 400 };
    uint8_t *text = text_of(LEN);
    struct buf b = seal_with(&raw, text, LEN, LEN);
    (void)state;
    for (size_t i = 0; i < b.len; i++) {
        for (int m = 0; m < 3; m++) {
            uint8_t mask = (const uint8_t[]){0x01, 0x80, 0xff}[m];
            int want = i < 8 ? KIST_ENOTKIST : KIST_ECORRUPT;
            b.data[i] ^= mask;
            if (i >= 8 && bytes_get16(b.data + 8) > 1)
                want = KIST_ENEWER;
            assert_int_equal(open_bytes(b.data, b.len, &raw, text, LEN), want);
            b.data[i] ^= mask;
        }
    }
    assert_int_equal(open_bytes(b.data, b.len, &raw, text, LEN), 0);
    buf_done(&b);
    free(text);
}

static void an_enemy_who_mends_the_checksum_opens_nothing(void **state)
{
    uint8_t *text = text_of(40);
    struct buf b = seal_with(&raw, text, 40, 40);
    (void)state;
    for (size_t i = 10; i < 119; i++) {
        b.data[i] ^= 1;
        crypto_generichash(b.data + 119, 16, b.data, 119, NULL, 0);
        int rc = open_bytes(b.data, b.len, &raw, text, 40);
        b.data[i] ^= 1;
        if (i >= 32 && i < 80) /* salt, commitment */
            assert_int_equal(rc, KIST_EKEY);
        else if (i == 10 || i == 11)
            assert_true(rc == KIST_ENEWER || rc == KIST_ECORRUPT);
        else
            assert_int_equal(rc, KIST_ECORRUPT);
    }
    buf_done(&b);
    free(text);
}

static void every_truncation_is_found(void **state)
{
    enum { LEN = 300 };
    uint8_t *text = text_of(LEN);
    struct buf b = seal_with(&raw, text, LEN, LEN);
    (void)state;
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(open_bytes(b.data, len, &raw, text, LEN), KIST_ECORRUPT);
    buf_done(&b);
    free(text);
}

/* Three chunks: where each begins in the stream, and the end. */
#define CHUNK_AT(i) (STREAM_HEADER_MIN + 7 + (size_t)(i) * (STREAM_CHUNK + 21))

static void chunks_cannot_be_cut_off_swapped_doubled_or_left_out(void **state)
{
    enum { LEN = 3 * STREAM_CHUNK };
    uint8_t *text = text_of(LEN);
    struct buf b = seal_with(&raw, text, LEN, LEN), x;
    size_t one = CHUNK_AT(1) - CHUNK_AT(0);
    static const int orders[][4] = {{0, 1, -1}, {0, -1}, {1, 0, 2, -1}, {0, 0, 1, 2},
                                    {0, 2, -1}, {2, -1}, {0, 1, 1, 2},  {0, 1, 2, 2}};
    (void)state;
    assert_int_equal(b.len, CHUNK_AT(3));
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        buf_init(&x, false);
        buf_add(&x, b.data, CHUNK_AT(0));
        for (int j = 0; j < 4 && orders[i][j] >= 0; j++)
            buf_add(&x, b.data + CHUNK_AT(orders[i][j]), one);
        assert_int_equal(open_bytes(x.data, x.len, &raw, text, LEN), KIST_ECORRUPT);
        buf_done(&x);
    }
    buf_done(&b);
    free(text);
}

static void bytes_after_the_end_are_found(void **state)
{
    struct buf b = seal_with(&raw, "whole", 5, 5);
    (void)state;
    buf_add_u8(&b, 0);
    assert_int_equal(open_bytes(b.data, b.len, &raw, (const uint8_t *)"whole", 5), KIST_ECORRUPT);
    buf_done(&b);
}

static void a_chunk_of_another_stream_does_not_fit(void **state)
{
    struct buf a = seal_with(&raw, "same", 4, 4), b = seal_with(&raw, "same", 4, 4);
    (void)state;
    memcpy(a.data + CHUNK_AT(0), b.data + CHUNK_AT(0), a.len - CHUNK_AT(0));
    assert_int_equal(open_bytes(a.data, a.len, &raw, (const uint8_t *)"same", 4), KIST_ECORRUPT);
    buf_done(&a);
    buf_done(&b);
}

/* The page's description, followed with libsodium alone. */
static void a_stream_is_made_as_the_format_page_says(void **state)
{
    static const uint8_t personal[16] = "kist direct key";
    struct buf b = seal_with(&direct, "hello", 5, 5);
    crypto_secretstream_xchacha20poly1305_state st;
    uint8_t slot_key[32], k[32], ad[36], mac[32], out[64], tag = 0;
    unsigned long long n = 0;
    (void)state;
    crypto_generichash_blake2b_salt_personal(slot_key, 32, NULL, 0, key, 32, b.data + 32, personal);
    crypto_kdf_derive_from_key(k, 32, 2, "kiststrm", slot_key);
    assert_memory_equal(k, b.data + 48, 32);
    crypto_kdf_derive_from_key(k, 32, 3, "kiststrm", slot_key);
    crypto_generichash(mac, 32, b.data, 135, k, 32);
    assert_memory_equal(mac, b.data + 135, 32);
    crypto_kdf_derive_from_key(k, 32, 1, "kiststrm", slot_key);
    assert_int_equal(crypto_secretstream_xchacha20poly1305_init_pull(&st, b.data + 80, k), 0);
    memcpy(ad, mac, 32);
    memcpy(ad + 32, b.data + 167, 4);
    assert_int_equal(bytes_get32(b.data + 167), 22);
    assert_int_equal(crypto_secretstream_xchacha20poly1305_pull(&st, out, &n, &tag, b.data + 171, 22, ad, 36), 0);
    assert_int_equal(n, 5);
    assert_memory_equal(out, "hello", 5);
    assert_int_equal(tag, 3);
    assert_int_equal(b.len, 193);
    buf_done(&b);
}

/* Seal chunks by hand under the key of b, whose header is kept: what a strange writer with the
 * right key could make. */
static void replace_chunks(struct buf *b, const uint8_t *tags, const size_t *lens, int count)
{
    static const uint8_t personal[16] = "kist raw key";
    static const uint8_t zeroes[100];
    crypto_secretstream_xchacha20poly1305_state st;
    uint8_t slot_key[32], k[32], start[24], ad[36], sealed[200];
    crypto_generichash_blake2b_salt_personal(slot_key, 32, NULL, 0, key, 32, b->data + 32, personal);
    crypto_kdf_derive_from_key(k, 32, 1, "kiststrm", slot_key);
    memcpy(start, b->data + 80, 24);
    /* pulling and pushing begin alike: the header alone sets the state */
    assert_int_equal(crypto_secretstream_xchacha20poly1305_init_pull(&st, start, k), 0);
    b->len = CHUNK_AT(0);
    memcpy(ad, b->data + b->len - 32, 32);
    for (int i = 0; i < count; i++) {
        bytes_put32(ad + 32, (uint32_t)lens[i] + 17);
        crypto_secretstream_xchacha20poly1305_push(&st, sealed, NULL, zeroes, lens[i], ad, 36, tags[i]);
        buf_add(b, ad + 32, 4);
        buf_add(b, sealed, lens[i] + 17);
    }
}

static void only_messages_with_content_and_one_final_make_a_stream(void **state)
{
    static const struct {
        uint8_t tags[3];
        size_t lens[3];
        int count, want;
    } cases[] = {
        {{0, 0, 3}, {10, 20, 30}, 3, 0},
        {{0, 3, 0}, {30, 30, 0}, 2, 0},
        {{0, 3, 0}, {60, 0, 0}, 2, 0},
        {{1, 3, 0}, {30, 30, 0}, 2, KIST_ECORRUPT},
        {{2, 3, 0}, {30, 30, 0}, 2, KIST_ECORRUPT},
        {{0, 0, 3}, {30, 0, 30}, 3, KIST_ECORRUPT},
        {{0, 0, 0}, {30, 20, 10}, 3, KIST_ECORRUPT},
        {{3, 3, 0}, {30, 30, 0}, 2, KIST_ECORRUPT},
    };
    static const uint8_t zeroes[60];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = seal_with(&raw, "x", 1, 1);
        replace_chunks(&b, cases[i].tags, cases[i].lens, cases[i].count);
        assert_int_equal(open_bytes(b.data, b.len, &raw, zeroes, 60), cases[i].want);
        buf_done(&b);
    }
}

static void an_output_that_fails_stops_the_writer_for_good(void **state)
{
    enum { LEN = 200000 };
    uint8_t *text = text_of(LEN);
    struct buf whole = seal_with(&raw, text, LEN, LEN);
    (void)state;
    for (size_t room = 0; room <= whole.len; room += room < 200 ? 50 : 20000) {
        struct sink s = {.room = room};
        struct stream_writer *w = NULL;
        buf_init(&s.b, false);
        int rc = stream_write_begin(magic, &raw, "context", 7, sink_take, &s, &w);
        if (rc == 0) {
            rc = stream_write(w, text, LEN);
            assert_int_equal(stream_write(w, text, 0), rc);
            size_t len = s.b.len;
            if (rc) {
                s.room = SIZE_MAX;
                assert_int_equal(stream_write(w, text, LEN), rc);
                assert_int_equal(s.b.len, len);
            }
            assert_int_equal(stream_write_end(&w), KIST_ENOSPC);
        }
        assert_null(w);
        if (s.b.len)
            assert_int_equal(open_bytes(s.b.data, s.b.len, &raw, text, LEN), KIST_ECORRUPT);
        buf_done(&s.b);
    }
    buf_done(&whole);
    free(text);
}

static void an_input_that_fails_is_that_failure(void **state)
{
    enum { LEN = 100000 };
    uint8_t *text = text_of(LEN);
    struct buf b = seal_with(&raw, text, LEN, LEN);
    (void)state;
    for (size_t at = 0; at <= b.len; at += at < 200 ? 10 : 9973) {
        struct source s = {.p = b.data, .len = b.len, .step = 10, .fail_at = at};
        assert_int_equal(open_in(&s, &raw, text, LEN, 1000), KIST_EIO);
    }
    buf_done(&b);
    free(text);
}

static void an_aborted_stream_is_not_whole(void **state)
{
    struct sink s = {.room = SIZE_MAX};
    struct stream_writer *w = NULL;
    struct stream_reader *r = NULL;
    (void)state;
    buf_init(&s.b, false);
    assert_int_equal(stream_write_begin(magic, &raw, NULL, 0, sink_take, &s, &w), 0);
    assert_int_equal(stream_write(w, "lost", 4), 0);
    stream_write_abort(&w);
    assert_null(w);
    stream_write_abort(&w);
    assert_int_equal(open_bytes(s.b.data, s.b.len, &raw, (const uint8_t *)"lost", 4), KIST_ECORRUPT);
    struct source in = {.p = s.b.data, .len = s.b.len, .step = 1, .fail_at = SIZE_MAX};
    assert_int_equal(stream_read_begin(magic, &raw, source_give, &in, &r, NULL), 0);
    stream_read_abort(&r);
    assert_null(r);
    stream_read_abort(&r);
    buf_done(&s.b);
}

static void what_cannot_be_is_refused(void **state)
{
    struct sink s = {.room = SIZE_MAX};
    struct stream_writer *w = NULL;
    struct unlock empty = {.kind = UNLOCK_PASSPHRASE, .ptr = "", .len = 0};
    uint8_t context[STREAM_CONTEXT_MAX + 1] = {0};
    (void)state;
    buf_init(&s.b, false);
    assert_int_equal(stream_write_begin(magic, &empty, NULL, 0, sink_take, &s, &w), KIST_EINVAL);
    assert_int_equal(stream_write_begin(magic, NULL, NULL, 0, sink_take, &s, &w), KIST_EINVAL);
    assert_int_equal(stream_write_begin(magic, &raw, context, sizeof context, sink_take, &s, &w), KIST_ETOOBIG);
    assert_null(w);
    assert_int_equal(s.b.len, 0);
    assert_int_equal(stream_write_begin(magic, &raw, context, STREAM_CONTEXT_MAX, sink_take, &s, &w), 0);
    assert_int_equal(stream_write_end(&w), 0);
    assert_int_equal(open_bytes(s.b.data, s.b.len, &raw, NULL, 0), 0);
    buf_done(&s.b);
}

static int life(void)
{
    struct sink s = {.room = SIZE_MAX};
    struct stream_writer *w = NULL;
    buf_init(&s.b, false);
    int rc = stream_write_begin(magic, &raw, NULL, 0, sink_take, &s, &w);
    if (rc == 0)
        rc = stream_write(w, "text", 4);
    if (rc == 0)
        rc = stream_write_end(&w);
    stream_write_abort(&w);
    if (rc == 0)
        rc = open_bytes(s.b.data, s.b.len, &raw, (const uint8_t *)"text", 4);
    buf_done(&s.b);
    return rc;
}

static void every_failed_allocation_and_random_number_is_an_error(void **state)
{
    int rc = -1;
    (void)state;
    for (int n = 0; rc; n++) {
        calls_left = n;
        os_hook = refuse;
        rc = life();
        os_hook = NULL;
        assert_true(rc == 0 || rc == KIST_ENOMEM || rc == KIST_EIO);
        assert_true(rc || n >= 5);
        assert_in_range(n, 0, 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_around_a_chunk_comes_back),
        cmocka_unit_test(any_size_of_pieces_will_do),
        cmocka_unit_test(each_way_to_unlock_opens_its_own_streams_only),
        cmocka_unit_test(the_context_is_readable_and_authentic),
        cmocka_unit_test(peeking_tells_streams_from_other_bytes),
        cmocka_unit_test(kdf_costs_of_an_enemy_are_refused),
        cmocka_unit_test(every_changed_byte_is_found),
        cmocka_unit_test(an_enemy_who_mends_the_checksum_opens_nothing),
        cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(chunks_cannot_be_cut_off_swapped_doubled_or_left_out),
        cmocka_unit_test(bytes_after_the_end_are_found),
        cmocka_unit_test(a_chunk_of_another_stream_does_not_fit),
        cmocka_unit_test(a_stream_is_made_as_the_format_page_says),
        cmocka_unit_test(only_messages_with_content_and_one_final_make_a_stream),
        cmocka_unit_test(an_output_that_fails_stops_the_writer_for_good),
        cmocka_unit_test(an_input_that_fails_is_that_failure),
        cmocka_unit_test(an_aborted_stream_is_not_whole),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test_teardown(every_failed_allocation_and_random_number_is_an_error, no_hook),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || secret_live(); /* no secret outlives its owner */
}
