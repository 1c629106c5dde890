/* store_model.c: the plain side of the big tests: an array in memory that does what the store
 * should do, and the odds and ends (temporary directories, chance, children with a watchdog) that
 * each of them needs.
 *
 * It promises to be dumb: linear or binary search in sorted arrays, no sharing with src/. It relies
 * on libc only, and on os_clock_skew_ms for the fake clock. Failures in a child print and exit, for
 * cmocka's longjmp would run the parent's tests in it. */
#include "store_model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* -- failing -- */

bool model_in_child;
void (*model_on_failure)(void);

void model_failed(const char *file, int line, const char *what, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fprintf(stderr, "%s:%d: %s: %s%s\n", file, line, what, text, model_in_child ? " (in a child)" : "");
    if (model_on_failure)
        model_on_failure();
    fflush(NULL);
    if (model_in_child)
        _exit(99);
    _fail(file, line);
    abort(); /* _fail does not come back */
}

/* -- chance, time, scale -- */

/* splitmix64: any seed is a good one. */
uint64_t model_random(struct model_prng *p)
{
    uint64_t z = p->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t model_below(struct model_prng *p, uint64_t n)
{
    return model_random(p) % n;
}

void model_fill(struct model_prng *p, void *out, size_t len)
{
    uint8_t *at = out;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(model_random(p) >> 56);
}

uint64_t model_seed(void)
{
    const char *text = getenv("KIST_TEST_SEED");
    uint64_t seed = 0;
    if (text && *text)
        seed = strtoull(text, NULL, 0);
    else if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)time(NULL);
    printf("KIST_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

unsigned model_env(const char *name, unsigned fallback)
{
    const char *text = getenv(name);
    unsigned long n = text && *text ? strtoul(text, NULL, 10) : 0;
    return n > 0 && n < UINT_MAX ? (unsigned)n : fallback;
}

double model_scale(void)
{
    const char *text = getenv("KIST_TEST_SCALE");
    double scale = text && *text ? strtod(text, NULL) : 1.0;
    return scale > 0 ? scale : 1.0;
}

int64_t model_mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* KIST_TEST_ONLY: a pattern with * and ?, for one test of many. */
__attribute__((constructor)) static void model_choose(void)
{
    const char *only = getenv("KIST_TEST_ONLY");
    if (only && *only)
        cmocka_set_test_filter(only);
}

/* -- files -- */

/* Those that a failed test leaves behind are removed in the end. */
static char model_temp_left[64][MODEL_PATH_MAX];
static pid_t model_temp_owner;

static void model_temp_sweep(void)
{
    for (size_t i = 0; i < 64 && getpid() == model_temp_owner; i++)
        if (*model_temp_left[i])
            model_remove_tree(model_temp_left[i]);
}

static void model_temp_note(const char *path)
{
    if (!model_temp_owner) {
        model_temp_owner = getpid();
        (void)atexit(model_temp_sweep);
    }
    for (size_t i = 0; i < 64; i++)
        if (!*model_temp_left[i]) {
            snprintf(model_temp_left[i], MODEL_PATH_MAX, "%s", path);
            return;
        }
}

char *model_temp_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(MODEL_PATH_MAX);
    assert_non_null(path);
    snprintf(path, MODEL_PATH_MAX, "%s/kist-test.XXXXXX", base && *base ? base : "/tmp");
    MODEL_CHECK(mkdtemp(path), "%s: %s", path, strerror(errno));
    model_temp_note(path);
    return path;
}

static int model_remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void model_remove_tree(const char *path)
{
    (void)nftw(path, model_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void model_temp_free(char **path)
{
    if (!*path)
        return;
    model_remove_tree(*path);
    for (size_t i = 0; i < 64; i++)
        if (strcmp(model_temp_left[i], *path) == 0)
            *model_temp_left[i] = 0;
    free(*path);
    *path = NULL;
}

char *model_join(char out[MODEL_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out, MODEL_PATH_MAX, "%s/%s", dir, name);
    MODEL_CHECK(n > 0 && n < MODEL_PATH_MAX, "path too long");
    return out;
}

static int model_compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t model_list(const char *dir, char (*out_names)[64], size_t max)
{
    size_t n = 0;
    DIR *list = opendir(dir);
    const struct dirent *entry;
    MODEL_CHECK(list, "%s: %s", dir, strerror(errno));
    while (n < max && (entry = readdir(list)))
        if (entry->d_name[0] != '.' || (entry->d_name[1] && strcmp(entry->d_name, "..") != 0))
            snprintf(out_names[n++], 64, "%.63s", entry->d_name);
    closedir(list);
    qsort(out_names, n, 64, model_compare_names);
    return n;
}

uint8_t *model_file_read(const char *path, size_t *out_len)
{
    FILE *f = fopen(path, "rb");
    MODEL_CHECK(f, "%s: %s", path, strerror(errno));
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    uint8_t *data = malloc((size_t)size + 1);
    assert_non_null(data);
    MODEL_CHECK(fread(data, 1, (size_t)size, f) == (size_t)size, "%s: short", path);
    fclose(f);
    *out_len = (size_t)size;
    return data;
}

void model_file_write(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MODEL_CHECK(fd >= 0, "%s: %s", path, strerror(errno));
    MODEL_CHECK(write(fd, data, len) == (ssize_t)len, "%s: %s", path, strerror(errno));
    close(fd);
}

bool model_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Holes stay holes: segments are longer than what is in them. */
static void model_copy_file(const char *from, const char *to)
{
    static uint8_t block[65536];
    static const uint8_t zeros[sizeof block];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    off_t at = 0;
    ssize_t n;
    MODEL_CHECK(in >= 0 && out >= 0, "%s -> %s: %s", from, to, strerror(errno));
    while ((n = read(in, block, sizeof block)) > 0) {
        if (memcmp(block, zeros, (size_t)n) != 0)
            MODEL_CHECK(pwrite(out, block, (size_t)n, at) == n, "%s: %s", to, strerror(errno));
        at += n;
    }
    MODEL_CHECK(n == 0 && ftruncate(out, at) == 0, "%s: %s", to, strerror(errno));
    close(in);
    close(out);
}

void model_copy_tree(const char *from, const char *to)
{
    char names[64][64];
    char a[MODEL_PATH_MAX], b[MODEL_PATH_MAX];
    size_t n = model_list(from, names, 64);
    MODEL_CHECK(mkdir(to, 0700) == 0 || errno == EEXIST, "%s: %s", to, strerror(errno));
    for (size_t i = 0; i < n; i++)
        model_copy_file(model_join(a, from, names[i]), model_join(b, to, names[i]));
}

/* -- stores -- */

const uint8_t model_key[32] = "a raw key for tests: 32 bytes..";

struct kist_options model_options(void)
{
    return (struct kist_options){.size = sizeof(struct kist_options),
                                 .key = {.kind = KIST_SECRET_KEY, .ptr = model_key, .len = sizeof model_key}};
}

struct kist_store *model_open(const char *path)
{
    struct kist_detail detail = {""};
    struct kist_options o = model_options();
    struct kist_store *store = NULL;
    o.detail = &detail;
    int rc = kist_open(path, &o, &store);
    MODEL_CHECK(rc == 0 && store, "open %s: %s: %s", path, kist_error_name(rc), detail.text);
    return store;
}

struct kist_bucket *model_default(struct kist_store *store)
{
    struct kist_bucket *b = NULL;
    MODEL_OK(kist_bucket_open(store, "default", &b));
    return b;
}

struct kist_bytes model_bytes(const void *p, size_t len)
{
    return (struct kist_bytes){.ptr = p, .len = len};
}

struct kist_bytes model_text(const char *s)
{
    return model_bytes(s, strlen(s));
}

void model_put(struct kist_bucket *b, const char *key, const char *value)
{
    MODEL_OK(kist_put(b, model_text(key), model_text(value), NULL, NULL));
}

void model_expect(struct kist_bucket *b, const char *key, const char *value)
{
    struct kist_value v = {0};
    int rc = kist_get(b, model_text(key), &v);
    if (value) {
        MODEL_CHECK(rc == 0, "get \"%s\": %s, expected \"%.40s\"", key, kist_error_name(rc), value);
        MODEL_CHECK(v.len == strlen(value) && memcmp(v.data, value, v.len) == 0, "get \"%s\": \"%.*s\", expected \"%.40s\"", key,
                    (int)(v.len < 40 ? v.len : 40), (const char *)v.data, value);
    } else {
        MODEL_CHECK(rc == KIST_ENOKEY, "get \"%s\": %s, expected KIST_ENOKEY", key, kist_error_name(rc));
    }
    kist_value_free(&v);
}

static void model_print_problem(const char *sentence, void *ctx)
{
    (void)ctx;
    fprintf(stderr, "verify: %s\n", sentence);
}

void model_verify(struct kist_store *store)
{
    struct kist_verify_options o = {.size = sizeof o, .problem = model_print_problem};
    struct kist_verify_report report = {0};
    int rc = kist_verify(store, &o, &report);
    MODEL_CHECK(rc == 0 && report.problems == 0, "verify: %s, %llu problems", kist_error_name(rc),
                (unsigned long long)report.problems);
}

int model_buffer_write(const void *data, size_t len, void *buffer)
{
    struct model_buffer *b = buffer;
    if (b->len + len > b->cap) {
        size_t cap = (b->len + len) * 2;
        uint8_t *more = realloc(b->data, cap);
        if (!more)
            return KIST_ENOMEM;
        b->data = more;
        b->cap = cap;
    }
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

/* In odd pieces: nobody may count on full reads. */
int model_buffer_read(void *data, size_t len, size_t *out_n, void *buffer)
{
    struct model_buffer *b = buffer;
    size_t n = b->len - b->at;
    if (n > len)
        n = len;
    if (n > 1000)
        n = 1000 + (b->at * 7) % (n - 999);
    if (n)
        memcpy(data, b->data + b->at, n);
    b->at += n;
    *out_n = n;
    return 0;
}

void model_buffer_free(struct model_buffer *b)
{
    free(b->data);
    *b = (struct model_buffer){0};
}

/* -- children -- */

pid_t model_fork(unsigned seconds)
{
    fflush(NULL);
    pid_t pid = fork();
    MODEL_CHECK(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        static const int deadly[] = {SIGALRM, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
        model_in_child = true; /* cmocka's handlers would go on with the parent's tests in the child */
        for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
            signal(deadly[i], SIG_DFL);
        alarm(seconds);
    }
    return pid;
}

void model_exit(int code)
{
    fflush(NULL);
    _exit(code);
}

int model_wait_status(pid_t pid)
{
    int status = 0;
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    MODEL_CHECK(got == pid, "waitpid: %s", strerror(errno));
    return status;
}

void model_wait(pid_t pid, const char *what)
{
    int status = model_wait_status(pid);
    MODEL_CHECK(!WIFSIGNALED(status), "%s: ended by signal %d%s", what, WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? " (it hung)" : "");
    MODEL_CHECK(WEXITSTATUS(status) == 0, "%s: exit code %d", what, WEXITSTATUS(status));
}

/* -- the model -- */

int model_compare(struct kist_bytes a, struct kist_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static void model_record_free(struct model_record *r)
{
    free(r->key);
    free(r->value);
}

void model_bucket_free(struct model_bucket *b)
{
    for (size_t i = 0; i < b->n; i++)
        model_record_free(&b->records[i]);
    free(b->records);
    b->records = NULL;
    b->n = b->cap = 0;
}

static uint8_t *model_dup(const void *p, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    assert_non_null(copy);
    if (len)
        memcpy(copy, p, len);
    return copy;
}

void model_bucket_copy(struct model_bucket *to, const struct model_bucket *from)
{
    *to = *from;
    to->cap = from->n;
    to->records = malloc((from->n + 1) * sizeof *to->records);
    assert_non_null(to->records);
    for (size_t i = 0; i < from->n; i++) {
        to->records[i] = from->records[i];
        to->records[i].key = model_dup(from->records[i].key, from->records[i].key_len);
        to->records[i].value = model_dup(from->records[i].value, from->records[i].len);
    }
}

size_t model_place(const struct model_bucket *b, struct kist_bytes key, bool *out_found)
{
    size_t low = 0, high = b->n;
    *out_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = model_compare(model_bytes(b->records[middle].key, b->records[middle].key_len), key);
        if (c == 0)
            *out_found = true;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct model_record *model_find(struct model_bucket *b, struct kist_bytes key, int64_t now_ms)
{
    bool found;
    size_t i = model_place(b, key, &found);
    if (!found || (b->records[i].expires_ms && b->records[i].expires_ms <= now_ms))
        return NULL;
    return &b->records[i];
}

struct model_record *model_set(struct model_bucket *b, struct kist_bytes key, struct kist_bytes value, enum kist_type type,
                               uint64_t revision, int64_t expires_ms)
{
    bool found;
    size_t i = model_place(b, key, &found);
    uint8_t *copy = model_dup(value.ptr, value.len); /* value may be the old one */
    if (!found) {
        if (b->n >= b->cap) {
            b->cap = b->n * 2 + 8;
            b->records = realloc(b->records, b->cap * sizeof *b->records);
            assert_non_null(b->records);
        }
        memmove(&b->records[i + 1], &b->records[i], (b->n - i) * sizeof *b->records);
        b->n++;
        b->records[i] = (struct model_record){.key = model_dup(key.ptr, key.len), .key_len = key.len};
    }
    struct model_record *r = &b->records[i];
    free(r->value);
    r->value = copy;
    r->len = value.len;
    r->type = type;
    r->revision = revision;
    r->expires_ms = expires_ms;
    return r;
}

void model_unset(struct model_bucket *b, struct kist_bytes key)
{
    bool found;
    size_t i = model_place(b, key, &found);
    if (!found)
        return;
    model_record_free(&b->records[i]);
    memmove(&b->records[i], &b->records[i + 1], (b->n - i - 1) * sizeof *b->records);
    b->n--;
}

void model_drop_expired(struct model_bucket *b, int64_t now_ms)
{
    for (size_t i = b->n; i-- > 0;)
        if (b->records[i].expires_ms && b->records[i].expires_ms <= now_ms)
            model_unset(b, model_bytes(b->records[i].key, b->records[i].key_len));
}

bool model_same(const struct model_record *r, const struct kist_record *record, bool revisions)
{
    return model_compare(model_bytes(r->key, r->key_len), record->key) == 0 && r->len == record->value.len &&
           (!record->value.ptr || r->len == 0 || memcmp(r->value, record->value.ptr, r->len) == 0) && r->type == record->type &&
           r->expires_ms == record->expires_ms && (!revisions || r->revision == record->revision);
}

void model_compare_bucket(struct model_bucket *b, struct kist_bucket *bucket, bool revisions, const char *what)
{
    struct kist_cursor *c = NULL;
    struct kist_record record;
    int64_t now = os_now_ms();
    uint64_t live = 0, count = 0;
    MODEL_OK(kist_cursor_open(bucket, NULL, &c));
    for (size_t i = 0; i < b->n; i++) {
        const struct model_record *r = &b->records[i];
        if (r->expires_ms && r->expires_ms <= now)
            continue;
        live++;
        int rc = kist_cursor_next(c, &record);
        MODEL_CHECK(rc == 0, "%s: record %zu of %zu in bucket \"%s\": %s", what, i, b->n, b->name, kist_error_name(rc));
        MODEL_CHECK(model_same(r, &record, revisions),
                    "%s: bucket \"%s\" record %zu: expected key \"%.*s\" len %zu type %d rev %llu "
                    "exp %lld, got \"%.*s\" "
                    "len %zu type %d rev %llu exp %lld",
                    what, b->name, i, (int)(r->key_len < 24 ? r->key_len : 24), (const char *)r->key, r->len, r->type,
                    (unsigned long long)r->revision, (long long)r->expires_ms, (int)(record.key.len < 24 ? record.key.len : 24),
                    (const char *)record.key.ptr, record.value.len, record.type, (unsigned long long)record.revision,
                    (long long)record.expires_ms);
    }
    MODEL_CODE(KIST_EEND, kist_cursor_next(c, &record));
    kist_cursor_close(&c);
    MODEL_OK(kist_count(bucket, model_bytes(NULL, 0), &count));
    MODEL_CHECK(count == live, "%s: count %llu, expected %llu", what, (unsigned long long)count, (unsigned long long)live);
}
