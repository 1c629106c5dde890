/* What the big tests share: a plain in-memory model of a bucket to compare the store with, seeded
 * random numbers, temporary stores, children with a watchdog. Test programs are one source each, so
 * they include store_model.c itself. */
#ifndef KIST_TESTS_STORE_MODEL_H
#define KIST_TESTS_STORE_MODEL_H

#include "base/os.h"
#include "kist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

/* A sentence and the end of the test; in a child (model_fork) the end of the child, with exit
 * code 99. */
#define MODEL_CHECK(condition, ...)                                    \
    do {                                                               \
        if (!(condition))                                              \
            model_failed(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)
/* A call that must answer exactly code. */
#define MODEL_CODE(code, call)                                                                                                 \
    do {                                                                                                                       \
        int model_rc_ = (call);                                                                                                \
        if (model_rc_ != (code))                                                                                               \
            model_failed(__FILE__, __LINE__, #call, "expected %s, got %s", kist_error_name(code), kist_error_name(model_rc_)); \
    } while (0)
#define MODEL_OK(call) MODEL_CODE(0, call)

void model_failed(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5), noreturn));
/* Called by model_failed() before it ends the test: to print the seed and what came before. */
extern void (*model_on_failure)(void);

/* -- chance, time, scale -- */

struct model_prng {
    uint64_t state;
};
uint64_t model_random(struct model_prng *p);
uint64_t model_below(struct model_prng *p, uint64_t n); /* 0 to n - 1; n > 0 */
void model_fill(struct model_prng *p, void *out, size_t len);
uint64_t model_seed(void); /* KIST_TEST_SEED, else a fresh one; printed */
unsigned model_env(const char *name, unsigned fallback);
double model_scale(void); /* KIST_TEST_SCALE, default 1 */
int64_t model_mono_ms(void);

/* -- files -- */

#define MODEL_PATH_MAX 512

char *model_temp_new(void);        /* a fresh directory under $TMPDIR or /tmp */
void model_temp_free(char **path); /* with all that is in it */
void model_remove_tree(const char *path);
void model_copy_tree(const char *from, const char *to);
char *model_join(char out[MODEL_PATH_MAX], const char *dir, const char *name);
/* The names in dir, sorted; at most max. */
size_t model_list(const char *dir, char (*out_names)[64], size_t max);
uint8_t *model_file_read(const char *path, size_t *out_len); /* malloc'ed */
void model_file_write(const char *path, const void *data, size_t len);
bool model_exists(const char *path);

/* -- stores -- */

extern const uint8_t model_key[32];
struct kist_options model_options(void);         /* the raw model_key, everything else default */
struct kist_store *model_open(const char *path); /* or the test fails */
struct kist_bucket *model_default(struct kist_store *store);
struct kist_bytes model_bytes(const void *p, size_t len);
struct kist_bytes model_text(const char *s);
/* Put text under text, or the test fails. */
void model_put(struct kist_bucket *b, const char *key, const char *value);
/* The value is text; NULL: there must be none. */
void model_expect(struct kist_bucket *b, const char *key, const char *value);
void model_verify(struct kist_store *store); /* clean, or the test fails with its sentences */

struct model_buffer {
    uint8_t *data;
    size_t len, cap, at;
};
int model_buffer_write(const void *data, size_t len, void *buffer); /* a kist_write_fn */
int model_buffer_read(void *data, size_t len, size_t *out_n, void *buffer);
void model_buffer_free(struct model_buffer *b);

/* -- children -- */

extern bool model_in_child;
/* fork(); the child is killed by SIGALRM after seconds. Its verdict is its exit code: end it with
 * model_exit(). */
pid_t model_fork(unsigned seconds);
void model_exit(int code) __attribute__((noreturn));
/* Wait for it; anything but exit code 0 fails the test. */
void model_wait(pid_t pid, const char *what);
int model_wait_status(pid_t pid);

/* -- the model: one sorted array a bucket -- */

struct model_record {
    uint8_t *key;
    size_t key_len;
    uint8_t *value;
    size_t len;
    enum kist_type type;
    uint64_t revision;
    int64_t expires_ms; /* 0: never */
};

struct model_bucket {
    char id[KIST_BUCKET_ID_LEN + 1];
    char name[KIST_BUCKET_NAME_MAX + 1];
    int64_t default_ttl_ms;
    struct model_record *records;
    size_t n, cap;
};

int model_compare(struct kist_bytes a, struct kist_bytes b);
void model_bucket_free(struct model_bucket *b);
void model_bucket_copy(struct model_bucket *to, const struct model_bucket *from);
/* Where key is, or would be. */
size_t model_place(const struct model_bucket *b, struct kist_bytes key, bool *out_found);
/* NULL when missing; expired ones are missing when now_ms is past their expiry. */
struct model_record *model_find(struct model_bucket *b, struct kist_bytes key, int64_t now_ms);
struct model_record *model_set(struct model_bucket *b, struct kist_bytes key, struct kist_bytes value, enum kist_type type,
                               uint64_t revision, int64_t expires_ms);
void model_unset(struct model_bucket *b, struct kist_bytes key);
void model_drop_expired(struct model_bucket *b, int64_t now_ms);
/* Is it the record that the store shows? */
bool model_same(const struct model_record *r, const struct kist_record *record, bool revisions);
/* Compare a whole bucket of the store, value by value. */
void model_compare_bucket(struct model_bucket *b, struct kist_bucket *bucket, bool revisions, const char *what);

#endif
