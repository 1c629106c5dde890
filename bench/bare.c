/* The limits, measured in the same run as the systems: what the device, the cipher and the kernel
 * allow.
 *
 * append-…   one pwrite and one fdatasync per frame, one after the other: into a growing file (each
 * sync also commits the new size), and over zeros written ahead (it does not). The second is the
 * limit of a durable single put. device…    the same with large frames, over zeros: the limit of a
 * durable put of a large value. xchacha…   copy the sealed bytes, then open them: the limit of a
 * get of a large value with suite 1; aes…: suite 2. The sealed values lie in 64 MiB, more than a
 * cache holds, and are taken in turn. seal-…     the other direction, for the record. true
 * /bin/true as a process: the limit of any program.
 *
 * The command line is that of main.c.
 */
#include "bench.h"
#include "process.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BARE_EXTRA = BENCH_FRAME - BENCH_VALUE, BARE_POOL = 64 << 20 };

struct bare_row {
    const char *name;
    void (*run)(const struct bare_row *row, const char *dir, double seconds);
    size_t size; /* bytes of a frame or a value */
    int kind;    /* 1: over zeros, or AES; 2: seal with XChaCha20 */
};

static void bare_write(int fd, const void *data, size_t len, off_t offset)
{
    BENCH_MUST(pwrite(fd, data, len, offset) == (ssize_t)len, "pwrite failed");
}

/* Room for what can be written in the time: at most 1 GiB or 20,000 frames a second. */
static size_t bare_frames(size_t size, double seconds)
{
    size_t most = ((size_t)1 << 30) / size, needed = (size_t)(seconds * 20000) + 1;

    return most < needed ? most : needed;
}

static void bare_zeros(int fd, size_t len)
{
    enum { CHUNK = 1 << 20 };
    char *zeros = bench_alloc(CHUNK);

    for (size_t at = 0; at < len; at += CHUNK)
        bare_write(fd, zeros, CHUNK, (off_t)at);
    BENCH_MUST(fsync(fd) == 0, "fsync failed");
    free(zeros);
}

static void bare_append(const struct bare_row *row, const char *dir, double seconds)
{
    size_t frames = bare_frames(row->size, seconds), done = 0;
    char path[4096], *frame = bench_alloc(row->size);
    double start;
    int fd;

    snprintf(path, sizeof(path), "%s/bare", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    BENCH_MUST(fd >= 0, "cannot make %s", path);
    bench_value(1, frame, row->size);
    if (row->kind == 1)
        bare_zeros(fd, frames * row->size);
    start = bench_now();
    while (done < frames && bench_now() - start < seconds) {
        bare_write(fd, frame, row->size, (off_t)(done * row->size));
        BENCH_MUST(fdatasync(fd) == 0, "fdatasync failed");
        done++;
    }
    bench_emit(row->name, (double)done / (bench_now() - start), "op/s");
    close(fd);
    unlink(path);
    free(frame);
}

struct bare_cipher {
    size_t size, slot, slots;
    unsigned char key[32], nonce[24], *pool, *copy, *plain;
};

static void bare_seal(struct bare_cipher *c, int kind, unsigned char *out, const unsigned char *plain)
{
    unsigned long long len;

    if (kind == 1)
        crypto_aead_aes256gcm_encrypt(out, &len, plain, c->size, NULL, 0, NULL, c->nonce, c->key);
    else
        crypto_aead_xchacha20poly1305_ietf_encrypt(out, &len, plain, c->size, NULL, 0, NULL, c->nonce, c->key);
}

static void bare_unseal(struct bare_cipher *c, int kind, const unsigned char *sealed)
{
    unsigned long long len;
    int rc;

    memcpy(c->copy, sealed, c->slot);
    if (kind == 1)
        rc = crypto_aead_aes256gcm_decrypt(c->plain, &len, NULL, c->copy, c->slot, NULL, 0, c->nonce, c->key);
    else
        rc = crypto_aead_xchacha20poly1305_ietf_decrypt(c->plain, &len, NULL, c->copy, c->slot, NULL, 0, c->nonce, c->key);
    BENCH_MUST(rc == 0 && len == c->size, "the cipher refused its own work");
}

static struct bare_cipher bare_cipher_new(const struct bare_row *row)
{
    struct bare_cipher c = {.size = row->size, .slot = row->size + crypto_aead_aes256gcm_ABYTES};

    c.slots = BARE_POOL / c.slot;
    c.pool = bench_alloc(c.slots * c.slot);
    c.copy = bench_alloc(c.slot);
    c.plain = bench_alloc(c.slot);
    bench_value(3, c.key, sizeof(c.key));
    for (size_t i = 0; i < c.slots; i++) {
        bench_value(i, c.plain, c.size);
        bare_seal(&c, row->kind, c.pool + i * c.slot, c.plain);
    }
    return c;
}

static void bare_cipher_run(const struct bare_row *row, const char *dir, double seconds)
{
    struct bare_cipher c;
    uint64_t done = 0;
    double start;

    (void)dir;
    if (row->kind == 1 && !crypto_aead_aes256gcm_is_available())
        return;
    c = bare_cipher_new(row);
    start = bench_now();
    while (bench_now() - start < seconds) {
        unsigned char *slot = c.pool + (done % c.slots) * c.slot;

        if (row->kind == 2)
            bare_seal(&c, row->kind, slot, c.plain);
        else
            bare_unseal(&c, row->kind, slot);
        done++;
    }
    bench_emit(row->name, (double)done / (bench_now() - start), "op/s");
    free(c.pool);
    free(c.copy);
    free(c.plain);
}

static void bare_true(const struct bare_row *row, const char *dir, double seconds)
{
    char path[] = "/bin/true", *argv[] = {path, NULL}, *environment[] = {NULL};

    (void)dir;
    (void)seconds;
    bench_emit(row->name, process_ms(argv, environment), "ms");
}

static const struct bare_row bare_rows[] = {
    {"append-growing", bare_append, BENCH_FRAME, 0},
    {"append-zeroed", bare_append, BENCH_FRAME, 1},
    {"device4k", bare_append, 4096 + BARE_EXTRA, 1},
    {"device1m", bare_append, (1 << 20) + BARE_EXTRA, 0},
    {"device1m-zeroed", bare_append, (1 << 20) + BARE_EXTRA, 1},
    {"xchacha4k", bare_cipher_run, 4096, 0},
    {"xchacha1m", bare_cipher_run, 1 << 20, 0},
    {"aes4k", bare_cipher_run, 4096, 1},
    {"aes1m", bare_cipher_run, 1 << 20, 1},
    {"seal-xchacha4k", bare_cipher_run, 4096, 2},
    {"seal-xchacha1m", bare_cipher_run, 1 << 20, 2},
    {"true", bare_true, 0, 0},
    {"pace", bare_append, BENCH_FRAME, 1},
};

enum { BARE_ROWS = sizeof(bare_rows) / sizeof(bare_rows[0]) };

int main(int argc, char **argv)
{
    double seconds = 2;

    bench_set_system("bare");
    BENCH_MUST(sodium_init() >= 0, "sodium_init failed");
    if (argc == 2 && strcmp(argv[1], "info") == 0) {
        printf("{\"system\": \"bare\", \"version\": \"libsodium %s\", \"settings\": \"pwrite + "
               "fdatasync of %d bytes\", "
               "\"shared\": false}\n",
               sodium_version_string(), BENCH_FRAME);
        return 0;
    }
    for (size_t i = 0; argc == 2 && strcmp(argv[1], "list") == 0 && i < BARE_ROWS - 1; i++)
        printf("%s fresh\n", bare_rows[i].name);
    for (int i = 3; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
    for (size_t i = 0; argc >= 3 && i < BARE_ROWS; i++)
        if (strcmp(argv[1], bare_rows[i].name) == 0) {
            bare_rows[i].run(&bare_rows[i], argv[2], seconds);
            return 0;
        }
    return argc == 2 ? 0 : 2;
}
