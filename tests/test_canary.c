/* test_canary.c: nothing that a user stored is to be found where it should not be.
 *
 * A thousand random strings of 16 bytes become names, values and bucket names. Afterwards every
 * file under the store, the temporary directory and the backup is searched for each of them, raw
 * and in hex; and the memory of a process that used them, as a core would show it: regions not
 * marked MADV_DONTDUMP. The table of what is looked for is kept masked, or the search would find
 * itself; the strings are made anew from the seed each time they are needed, and wiped. Memory is
 * also read while the store is open: names may be in the index then, but not in memory that goes
 * into a core. */
#include "store_model.c" /* a test program is one source */

/* For tests of our own memory: a sanitizer's shadow and quarantine keep copies. */
#ifdef KIST_SANITIZED
#define OWN_MEMORY() skip()
#else
#define OWN_MEMORY() (void)0
#endif

#define CANARIES 1000
#define CANARY 16
#define MASK UINT64_C(0xa5c3965a3c69f00f)

enum use { USE_NAME, USE_VALUE, USE_BUCKET };

static uint64_t seed;
static char *dir;
static char path[MODEL_PATH_MAX];

/* -- canaries -- */

/* Names and bucket names are letters beyond hex; values any bytes. */
static void canary_make(unsigned i, uint8_t out[CANARY])
{
    struct model_prng p = {seed ^ ((uint64_t)(i + 1) << 32)};
    model_fill(&p, out, CANARY);
    if (i % 3 != 1)
        for (size_t k = 0; k < CANARY; k++)
            out[k] = (uint8_t)('g' + out[k] % 20);
    os_wipe(&p, sizeof p);
}

static enum use canary_use(unsigned i)
{
    return i % 3 == 1 ? USE_VALUE : i % 60 == 0 ? USE_BUCKET : USE_NAME;
}

/* Masked halves, in an open hash by the first. */
static struct {
    uint64_t half[2];
    unsigned number;
    bool used;
} table[4096];

static void table_fill(void)
{
    for (unsigned i = 0; i < CANARIES; i++) {
        uint64_t half[2];
        uint8_t c[CANARY];
        canary_make(i, c);
        memcpy(half, c, CANARY);
        os_wipe(c, CANARY);
        size_t at = (half[0] ^ MASK) % 4096;
        while (table[at].used)
            at = (at + 1) % 4096;
        table[at].used = true;
        table[at].number = i;
        table[at].half[0] = half[0] ^ MASK;
        table[at].half[1] = half[1] ^ MASK;
        os_wipe(half, sizeof half);
    }
}

/* The number of the canary at p, or -1. */
static int table_find(const uint8_t *p)
{
    uint64_t half;
    memcpy(&half, p, 8);
    for (size_t at = (half ^ MASK) % 4096; table[at].used; at = (at + 1) % 4096)
        if (table[at].half[0] == (half ^ MASK)) {
            memcpy(&half, p + 8, 8);
            return table[at].half[1] == (half ^ MASK) ? (int)table[at].number : -1;
        }
    return -1;
}

static bool hex_decode(const uint8_t *p, uint8_t out[CANARY])
{
    for (size_t i = 0; i < 2 * CANARY; i++) {
        uint8_t c = p[i], d;
        if (c >= '0' && c <= '9')
            d = (uint8_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            d = (uint8_t)((c | 32) - 'a' + 10);
        else
            return false;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | d : d << 4);
    }
    return true;
}

/* -- files -- */

static unsigned files_seen, files_bad;

static void search_bytes(const uint8_t *data, size_t len, const char *where)
{
    static const char *const uses[] = {"name", "value", "bucket name"};
    uint8_t raw[CANARY];
    for (size_t i = 0; i + CANARY <= len; i++) {
        int n = table_find(data + i);
        if (n < 0 && i + 2 * CANARY <= len && hex_decode(data + i, raw))
            n = table_find(raw);
        if (n >= 0 && ++files_bad <= 10)
            fprintf(stderr, "%s, offset %zu: a %s\n", where, i, uses[canary_use((unsigned)n)]);
    }
}

static int search_one(const char *p, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)ftw;
    search_bytes((const uint8_t *)p, strlen(p), p); /* file names, too */
    if (kind != FTW_F || st->st_size == 0)
        return 0;
    size_t len;
    uint8_t *data = model_file_read(p, &len);
    search_bytes(data, len, p);
    free(data);
    files_seen++;
    return 0;
}

static void search_files(const char *when)
{
    files_seen = files_bad = 0;
    (void)nftw(dir, search_one, 16, FTW_PHYS);
    printf("%s: %u files\n", when, files_seen);
    MODEL_CHECK(files_seen > 0 && files_bad == 0, "%s: %u finds in %u files", when, files_bad, files_seen);
}

/* -- the work: each canary used once, wiped after -- */

static void use_canaries(struct kist_store *s, unsigned from, unsigned to)
{
    struct kist_bucket *b = model_default(s), *named = NULL;
    for (unsigned i = from; i < to; i++) {
        uint8_t c[CANARY + 1] = {0}, name[16];
        struct kist_value v = {0};
        canary_make(i, c);
        int n = snprintf((char *)name, sizeof name, "v%u", i);
        switch (canary_use(i)) {
        case USE_NAME:
            MODEL_OK(kist_put(b, model_bytes(c, CANARY), KIST_STR("x"), NULL, NULL));
            if (i % 6 == 0)
                MODEL_OK(kist_delete(b, model_bytes(c, CANARY), NULL, NULL, NULL));
            break;
        case USE_VALUE:
            MODEL_OK(kist_put(b, model_bytes(name, (size_t)n), model_bytes(c, CANARY), NULL, NULL));
            MODEL_OK(kist_get(b, model_bytes(name, (size_t)n), &v));
            MODEL_CHECK(v.len == CANARY && memcmp(v.data, c, CANARY) == 0, "value %u differs", i);
            kist_value_free(&v);
            if (i % 6 == 1)
                MODEL_OK(kist_get_and_delete(b, model_bytes(name, (size_t)n), &v));
            kist_value_free(&v);
            break;
        default:
            MODEL_OK(kist_bucket_create(s, (const char *)c, NULL, &named));
            model_put(named, "in it", "x");
            if (i % 120 == 0)
                MODEL_OK(kist_bucket_delete(named));
            kist_bucket_close(&named);
        }
        os_wipe(c, sizeof c);
    }
    kist_bucket_close(&b);
}

/* Everything by other ways in and out: transactions, cursors, batches. */
static void read_everything(struct kist_store *s)
{
    struct kist_bucket *b = model_default(s);
    struct kist_cursor *c = NULL;
    struct kist_txn *t = NULL;
    struct kist_record r;
    MODEL_OK(kist_cursor_open(b, NULL, &c));
    while (kist_cursor_next(c, &r) == 0)
        continue;
    kist_cursor_close(&c);
    MODEL_OK(kist_begin(b, KIST_OPTIMISTIC, &t));
    for (unsigned i = 1; i < 60; i += 3) {
        uint8_t v[CANARY];
        canary_make(i, v);
        MODEL_OK(kist_txn_put(t, KIST_STR("in a transaction"), model_bytes(v, CANARY), NULL));
        os_wipe(v, sizeof v);
    }
    MODEL_OK(kist_commit(&t, NULL));
    MODEL_OK(kist_delete(b, KIST_STR("in a transaction"), NULL, NULL, NULL));
    kist_bucket_close(&b);
}

static int file_write(const void *data, size_t len, void *ctx)
{
    return fwrite(data, 1, len, ctx) == len ? 0 : KIST_EIO;
}

static void backup_to(struct kist_store *s, const char *name)
{
    char p[MODEL_PATH_MAX];
    FILE *f = fopen(model_join(p, dir, name), "wb");
    assert_non_null(f);
    MODEL_OK(kist_backup(s, 0, file_write, f, NULL));
    assert_int_equal(fclose(f), 0);
}

static void nothing_of_the_user_is_in_any_file(void **state)
{
    (void)state;
    struct kist_store *s = model_open(path);
    use_canaries(s, 0, CANARIES);
    search_files("after writing");
    read_everything(s);
    MODEL_OK(kist_compact(s, NULL, NULL));
    search_files("after compaction");
    backup_to(s, "backup");
    kist_close(&s);
    search_files("after closing");
    s = model_open(path); /* from the index snapshot, if there is one */
    kist_close(&s);
    search_files("after opening again");
}

static void nothing_of_the_user_is_in_any_file_after_a_crash(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 5; round++) {
        pid_t pid = model_fork(60);
        if (pid == 0) {
            struct kist_store *s = model_open(path);
            for (;;) {
                struct kist_bucket *b = model_default(s);
                uint8_t c[CANARY];
                for (unsigned i = 1; i < CANARIES; i += 3) {
                    canary_make(i, c);
                    MODEL_OK(kist_put(b, KIST_STR("k"), model_bytes(c, CANARY), NULL, NULL));
                    canary_make(i + 1, c);
                    MODEL_OK(kist_put(b, model_bytes(c, CANARY), KIST_STR("v"), NULL, NULL));
                }
                kist_bucket_close(&b);
                MODEL_OK(kist_compact(s, NULL, NULL));
            }
        }
        usleep(30000 + round * 17000);
        kill(pid, SIGKILL);
        int status = model_wait_status(pid);
        MODEL_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the writer ended by itself: status 0x%x", status);
        search_files("after kill -9");
    }
}

/* -- memory -- */

struct region {
    uint64_t start, end;
    bool in_core;
    char name[128];
};

/* The writable regions of this process, with what smaps says of their dumping. */
static size_t regions_list(struct region *out, size_t max)
{
    static char line[1024];
    FILE *f = fopen("/proc/self/smaps", "r");
    size_t n = 0;
    struct region r = {0};
    bool keep = false;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long long start, end;
        char rights[8], name[128] = "";
        if (sscanf(line, "%llx-%llx %7s %*s %*s %*s %127[^\n]", &start, &end, rights, name) >= 3) {
            r = (struct region){.start = start, .end = end};
            snprintf(r.name, sizeof r.name, "%s", name);
            keep = rights[0] == 'r' && rights[1] == 'w';
        } else if (keep && strncmp(line, "VmFlags:", 8) == 0 && n < max) {
            r.in_core = !strstr(line, " dd");
            out[n++] = r;
        }
    }
    fclose(f);
    return n;
}

static uint8_t window[1 << 16];

/* How many canaries of a use are in memory; prints the first ones. Not counting our own window. */
static unsigned search_memory(bool core_only, bool names, const char *when)
{
    static struct region regions[512];
    size_t n = regions_list(regions, 512);
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    unsigned found = 0, skipped = 0;
    MODEL_CHECK(fd >= 0, "/proc/self/mem: %s", strerror(errno));
    for (size_t i = 0; i < n; i++) {
        if (core_only && !regions[i].in_core) {
            skipped++;
            continue;
        }
        for (uint64_t at = regions[i].start; at < regions[i].end; at += sizeof window - CANARY) {
            uint64_t len = regions[i].end - at < sizeof window ? regions[i].end - at : sizeof window;
            ssize_t got = pread(fd, window, len, (off_t)at);
            for (size_t k = 0; got >= CANARY && k + CANARY <= (size_t)got; k++) {
                int c = table_find(window + k);
                uint64_t where = at + k;
                bool ours = where >= (uintptr_t)window && where < (uintptr_t)window + sizeof window;
                if (c < 0 || ours || (canary_use((unsigned)c) == USE_VALUE) == names)
                    continue;
                if (++found <= 5)
                    fprintf(stderr, "%s: %s %d at %llx in %s (%s)\n", when, names ? "name" : "value", c,
                            (unsigned long long)where, *regions[i].name ? regions[i].name : "anonymous memory",
                            regions[i].in_core ? "in a core" : "not in a core");
            }
            os_wipe(window, sizeof window);
        }
    }
    close(fd);
    printf("%s: %zu regions, %u of them not in a core, %u finds\n", when, n, skipped, found);
    return found;
}

/* In a child, so that the heap is fresh. */
static void memory_child(bool names, bool while_open)
{
    model_remove_tree(path);
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct kist_store *s = model_open(path);
        use_canaries(s, 0, CANARIES);
        read_everything(s);
        unsigned found = 0;
        if (while_open)
            found = search_memory(names, names, names ? "open, names" : "open, values freed");
        kist_close(&s);
        if (!while_open)
            found = search_memory(false, names, names ? "closed, names" : "closed, values");
        MODEL_CHECK(found == 0, "%u finds", found);
        model_exit(0);
    }
    model_wait(pid, "searcher");
}

static void the_search_finds_what_is_in_memory(void **state)
{
    OWN_MEMORY();
    (void)state;
    pid_t pid = model_fork(60);
    if (pid == 0) {
        uint8_t *left = malloc(64);
        assert_non_null(left);
        canary_make(1, left + 3);
        unsigned found = search_memory(false, false, "left on purpose");
        MODEL_CHECK(found >= 1, "not found");
        free(left);
        model_exit(0);
    }
    model_wait(pid, "searcher");
}

static void freed_values_are_not_in_memory(void **state)
{
    OWN_MEMORY();
    (void)state;
    memory_child(false, true);
}

static void names_are_not_in_a_core_of_an_open_store(void **state)
{
    OWN_MEMORY();
    (void)state;
    memory_child(true, true);
}

static void nothing_is_in_memory_after_closing(void **state)
{
    OWN_MEMORY();
    (void)state;
    memory_child(false, false);
    memory_child(true, false);
}

static int make(void **state)
{
    (void)state;
    dir = model_temp_new();
    model_join(path, dir, "store");
    setenv("TMPDIR", dir, 1); /* whatever is put there is searched */
    return 0;
}

static int drop(void **state)
{
    (void)state;
    unsetenv("TMPDIR");
    model_temp_free(&dir);
    return 0;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(nothing_of_the_user_is_in_any_file),       TEST(nothing_of_the_user_is_in_any_file_after_a_crash),
        TEST(the_search_finds_what_is_in_memory),       TEST(freed_values_are_not_in_memory),
        TEST(names_are_not_in_a_core_of_an_open_store), TEST(nothing_is_in_memory_after_closing),
    };
    seed = model_seed();
    table_fill();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
