/* test_hostile_files.c: the lines of hostile.md on files and disk, through the library.
 *
 * Each ends in a clear error and nothing lost. What changes the process (limits, user) runs in a
 * child; what needs root is skipped with a message without it. The full disk is a tmpfs of 2 MiB.
 */
#include "store_model.c" /* a test program is one source */

#include <grp.h>
#include <sys/mount.h>
#include <sys/resource.h>

static char *dir;
static char path[MODEL_PATH_MAX];

static int make(void **state)
{
    (void)state;
    dir = model_temp_new();
    model_join(path, dir, "store");
    return 0;
}

static int drop(void **state)
{
    (void)state;
    char small[MODEL_PATH_MAX]; /* a failed test may have left its mounts */
    (void)umount2(model_join(small, dir, "small"), MNT_DETACH);
    (void)umount2(path, MNT_DETACH);
    model_temp_free(&dir);
    return 0;
}

static int try_open(const char *p, enum kist_open_mode mode, struct kist_store **out)
{
    struct kist_options o = model_options();
    struct kist_detail detail = {""};
    o.mode = mode;
    o.lock_timeout_ms = 1000;
    o.detail = &detail;
    int rc = kist_open(p, &o, out);
    MODEL_CHECK(rc == 0 || !*out, "a failed open sets its output");
    MODEL_CHECK(rc == 0 || detail.text[0], "%s without a word", kist_error_name(rc));
    return rc;
}

/* A store with ten records; expect_ten() looks at them. */
static void make_ten(const char *p)
{
    struct kist_store *s = model_open(p);
    struct kist_bucket *b = model_default(s);
    char key[16];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "ten/%d", i);
        model_put(b, key, key);
    }
    kist_bucket_close(&b);
    kist_close(&s);
}

static void expect_ten(struct kist_bucket *b)
{
    char key[16];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "ten/%d", i);
        model_expect(b, key, key);
    }
}

static void check_ten(const char *p)
{
    struct kist_store *s = model_open(p);
    struct kist_bucket *b = model_default(s);
    expect_ten(b);
    model_put(b, "goes on", "yes");
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
}

/* -- what is at the path -- */

static void a_path_that_is_something_else(void **state)
{
    (void)state;
    struct kist_store *s = NULL;
    char p[MODEL_PATH_MAX];
    model_file_write(path, "not a store", 11);
    int rc = try_open(path, KIST_OPEN_CREATE, &s);
    MODEL_CHECK(rc == KIST_ENOTKIST || rc == KIST_EINVAL || rc == KIST_EEXIST, "a file: %s", kist_error_name(rc));
    size_t len;
    uint8_t *data = model_file_read(path, &len);
    MODEL_CHECK(len == 11 && memcmp(data, "not a store", 11) == 0, "the file was changed");
    free(data);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10);
    rc = try_open(path, KIST_OPEN_CREATE, &s);
    alarm(0);
    MODEL_CHECK(rc < 0 && rc != KIST_ECORRUPT, "a FIFO: %s", kist_error_name(rc));
    unlink(path);
    assert_int_equal(symlink("/nonexistent/nowhere", path), 0);
    rc = try_open(path, KIST_OPEN_EXISTING, &s);
    MODEL_CHECK(rc == KIST_ENOSTORE, "a dangling link: %s", kist_error_name(rc));
    unlink(path);
    MODEL_CODE(KIST_ENOSTORE, try_open(path, KIST_OPEN_EXISTING, &s));
    MODEL_CODE(KIST_ENOSTORE, try_open(path, KIST_OPEN_READ_ONLY, &s));
    MODEL_CHECK(!model_exists(path), "opening an existing one made one");
    make_ten(model_join(p, dir, "real"));
    assert_int_equal(symlink(p, path), 0);
    check_ten(path);
    MODEL_CODE(KIST_EEXIST, try_open(path, KIST_OPEN_NEW, &s));
}

static void a_directory_with_other_things_in_it(void **state)
{
    (void)state;
    struct kist_store *s = NULL;
    char p[MODEL_PATH_MAX];
    assert_int_equal(mkdir(path, 0700), 0);
    model_file_write(model_join(p, path, "thesis.txt"), "years of work", 13);
    int rc = try_open(path, KIST_OPEN_CREATE, &s); /* either is fine, if the file stays */
    kist_close(&s);
    MODEL_CHECK(model_exists(p), "the file is gone after %s", kist_error_name(rc));
    static const char *const kinds[] = {"header", "lock"};
    for (int i = 0; i < 2; i++) { /* directories and links where files should be */
        model_remove_tree(path);
        make_ten(path);
        model_join(p, path, kinds[i]);
        unlink(p);
        assert_int_equal(mkdir(p, 0700), 0);
        rc = try_open(path, KIST_OPEN_CREATE, &s);
        MODEL_CHECK(rc < 0, "%s is a directory: it opens", kinds[i]);
    }
    model_remove_tree(path);
    make_ten(path);
    unlink(model_join(p, path, "lock"));
    assert_int_equal(mkfifo(p, 0600), 0);
    alarm(10);
    rc = try_open(path, KIST_OPEN_CREATE, &s);
    alarm(0);
    MODEL_CHECK(rc < 0, "the lock is a FIFO: it opens");
}

static void files_are_private_whatever_the_umask(void **state)
{
    (void)state;
    char names[16][64], p[MODEL_PATH_MAX];
    struct stat st;
    mode_t old = umask(0);
    make_ten(path);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    size_t n = model_list(path, names, 16);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(stat(model_join(p, path, names[i]), &st), 0);
        MODEL_CHECK((st.st_mode & 0777) == 0600, "%s has mode %o", names[i], st.st_mode & 0777);
    }
    assert_int_equal(chmod(path, 0777), 0); /* refused, or it works: nothing else */
    struct kist_store *s = NULL;
    int rc = try_open(path, KIST_OPEN_CREATE, &s);
    MODEL_CHECK(rc == 0 || rc == KIST_EDENIED, "mode 0777: %s", kist_error_name(rc));
    kist_close(&s);
}

/* As nobody: a directory without the right to write, a store of somebody else. */
static void directories_without_rights(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        printf("not root: skipped\n");
        skip();
    }
    char p[MODEL_PATH_MAX];
    make_ten(path);
    assert_int_equal(chmod(dir, 0755), 0);
    pid_t pid = model_fork(20);
    if (pid == 0) {
        struct kist_store *s = NULL;
        MODEL_CHECK(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0, "%s", strerror(errno));
        int rc = try_open(path, KIST_OPEN_CREATE, &s);
        MODEL_CHECK(rc == KIST_EDENIED, "a store of another user: %s", kist_error_name(rc));
        rc = try_open(model_join(p, dir, "new"), KIST_OPEN_CREATE, &s);
        MODEL_CHECK(rc == KIST_EDENIED, "in a directory of another user: %s", kist_error_name(rc));
        model_exit(0);
    }
    model_wait(pid, "nobody");
    assert_int_equal(chmod(dir, 0755), 0);
    check_ten(path);
}

static void a_read_only_file_system(void **state)
{
    (void)state;
    struct kist_store *s = NULL;
    make_ten(path);
    if (mount(path, path, NULL, MS_BIND, NULL) != 0 || mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0) {
        printf("cannot mount (%s): skipped\n", strerror(errno));
        (void)umount2(path, MNT_DETACH);
        skip();
    }
    pid_t pid = model_fork(20);
    if (pid == 0) {
        int rc = try_open(path, KIST_OPEN_READ_ONLY, &s);
        MODEL_CHECK(rc == 0, "read-only on a read-only file system: %s", kist_error_name(rc));
        struct kist_bucket *b = model_default(s);
        expect_ten(b);
        MODEL_CODE(KIST_EREADONLY, kist_put(b, KIST_STR("x"), KIST_STR("y"), NULL, NULL));
        MODEL_CODE(KIST_EREADONLY, kist_compact(s, NULL, NULL));
        kist_bucket_close(&b);
        kist_close(&s);
        rc = try_open(path, KIST_OPEN_EXISTING, &s);
        MODEL_CHECK(rc == KIST_EREADONLY || rc == KIST_EDENIED || rc == KIST_EIO, "read-write there: %s", kist_error_name(rc));
        model_exit(0);
    }
    int status = model_wait_status(pid);
    MODEL_CHECK(umount2(path, MNT_DETACH) == 0, "%s", strerror(errno));
    assert_int_equal(status, 0);
    check_ten(path);
}

static void nothing_is_written_through_a_read_only_handle(void **state)
{
    (void)state;
    struct kist_store *s = NULL;
    struct kist_bucket *made = NULL;
    struct kist_txn *t = NULL;
    make_ten(path);
    MODEL_OK(try_open(path, KIST_OPEN_READ_ONLY, &s));
    struct kist_bucket *b = model_default(s);
    expect_ten(b);
    MODEL_CODE(KIST_EREADONLY, kist_put(b, KIST_STR("x"), KIST_STR("y"), NULL, NULL));
    MODEL_CODE(KIST_EREADONLY, kist_increment(b, KIST_STR("x"), 1, NULL, NULL, NULL));
    MODEL_CODE(KIST_EREADONLY, kist_bucket_create(s, "x", NULL, &made));
    MODEL_CODE(KIST_EREADONLY, kist_rotate(s, false, NULL, NULL));
    MODEL_CODE(KIST_EREADONLY, kist_begin(b, KIST_EXCLUSIVE, &t));
    kist_bucket_close(&b);
    kist_close(&s);
    check_ten(path);
}

/* -- the lock file -- */

static void a_lock_file_that_is_missing_between_sessions(void **state)
{
    (void)state;
    char p[MODEL_PATH_MAX];
    make_ten(path);
    unlink(model_join(p, path, "lock"));
    check_ten(path);
    model_file_write(model_join(p, path, "lock"), "", 0);
    check_ten(path);
    model_file_write(model_join(p, path, "lock"), "garbage garbage garbage", 23);
    check_ten(path);
}

/* Removed or replaced while open: two handles on two lock files must not both write, or the log
 * breaks. */
static void a_lock_file_that_goes_away_while_open(void **state)
{
    (void)state;
    char p[MODEL_PATH_MAX];
    for (int replaced = 0; replaced < 2; replaced++) {
        struct kist_store *a = NULL, *b = NULL;
        uint64_t acked[2] = {0, 0};
        model_remove_tree(path);
        make_ten(path);
        a = model_open(path);
        struct kist_bucket *in_a = model_default(a), *in_b = NULL;
        model_put(in_a, "before", "1");
        unlink(model_join(p, path, "lock"));
        if (replaced)
            model_file_write(p, "", 0);
        int rc = try_open(path, KIST_OPEN_EXISTING, &b);
        if (rc == 0)
            in_b = model_default(b);
        for (uint64_t i = 1; i <= 20; i++) { /* a write that is acknowledged must stay */
            char text[32];
            snprintf(text, sizeof text, "%d", (int)i);
            if (kist_put(in_a, KIST_STR("a"), model_text(text), NULL, NULL) == 0)
                acked[0] = i;
            if (in_b && kist_put(in_b, KIST_STR("b"), model_text(text), NULL, NULL) == 0)
                acked[1] = i;
        }
        kist_bucket_close(&in_a);
        kist_bucket_close(&in_b);
        kist_close(&a);
        kist_close(&b);
        a = model_open(path);
        in_a = model_default(a);
        for (int i = 0; i < 2; i++) {
            char text[32];
            snprintf(text, sizeof text, "%d", (int)acked[i]);
            model_expect(in_a, i ? "b" : "a", acked[i] ? text : NULL);
        }
        expect_ten(in_a);
        model_verify(a);
        kist_bucket_close(&in_a);
        kist_close(&a);
    }
}

/* -- limits -- */

static void files_may_not_grow(void **state)
{
    (void)state;
    make_ten(path);
    pid_t pid = model_fork(60);
    if (pid == 0) {
        struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
        static uint8_t big[100000];
        signal(SIGXFSZ, SIG_IGN);
        MODEL_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0, "%s", strerror(errno));
        struct kist_store *s = NULL;
        int rc = try_open(path, KIST_OPEN_CREATE, &s), n = 0;
        MODEL_CHECK(rc == 0, "open with RLIMIT_FSIZE: %s", kist_error_name(rc));
        struct kist_bucket *b = model_default(s);
        char key[16];
        while (n < 100 && rc == 0) {
            snprintf(key, sizeof key, "big/%d", n);
            rc = kist_put(b, model_text(key), model_bytes(big, sizeof big), NULL, NULL);
            n += rc == 0;
        }
        MODEL_CHECK(rc == 0 || rc == KIST_ENOSPC || rc == KIST_ETOOBIG || rc == KIST_EIO, "put: %s after %d", kist_error_name(rc),
                    n);
        expect_ten(b);
        for (int i = 0; i < n; i++) {
            struct kist_value v = {0};
            snprintf(key, sizeof key, "big/%d", i);
            MODEL_OK(kist_get(b, model_text(key), &v));
            MODEL_CHECK(v.len == sizeof big, "len %zu", v.len);
            kist_value_free(&v);
        }
        kist_bucket_close(&b);
        kist_close(&s);
        model_exit(0);
    }
    model_wait(pid, "with RLIMIT_FSIZE");
    check_ten(path);
}

static void descriptors_run_out(void **state)
{
    (void)state;
    make_ten(path);
    for (rlim_t n = 3; n <= 20; n++) {
        pid_t pid = model_fork(30);
        if (pid == 0) {
            struct rlimit limit = {.rlim_cur = n, .rlim_max = n};
            for (int fd = 3; fd < 64; fd++)
                close(fd); /* whatever the runner left open */
            MODEL_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
            struct kist_store *s = NULL;
            int rc = try_open(path, KIST_OPEN_CREATE, &s);
            MODEL_CHECK(rc == 0 || rc == KIST_EFDS, "open with %d descriptors: %s", (int)n, kist_error_name(rc));
            MODEL_CHECK(rc == 0 || n < 20, "17 descriptors are not enough");
            if (rc == 0) {
                struct kist_bucket *b = model_default(s);
                expect_ten(b);
                rc = kist_put(b, KIST_STR("few"), KIST_STR("x"), NULL, NULL);
                MODEL_CHECK(rc == 0 || rc == KIST_EFDS, "put with %d descriptors: %s", (int)n, kist_error_name(rc));
                rc = kist_compact(s, NULL, NULL);
                MODEL_CHECK(rc == 0 || rc == KIST_EFDS, "compact with %d descriptors: %s", (int)n, kist_error_name(rc));
                expect_ten(b);
                kist_bucket_close(&b);
                kist_close(&s);
            }
            model_exit(0);
        }
        model_wait(pid, "with few descriptors");
    }
    check_ten(path);
}

/* -- headers -- */

static void a_header_cut_at_each_byte(void **state)
{
    (void)state;
    char p[MODEL_PATH_MAX], copy[MODEL_PATH_MAX];
    size_t len;
    make_ten(path);
    uint8_t *data = model_file_read(model_join(p, path, "header"), &len);
    model_join(copy, dir, "copy");
    for (size_t n = 0; n<len; n += n> 200 && n + 200 < len ? 7 : 1) {
        struct kist_store *s = NULL;
        model_remove_tree(copy);
        model_copy_tree(path, copy);
        model_file_write(model_join(p, copy, "header"), data, n);
        int rc = try_open(copy, KIST_OPEN_CREATE, &s); /* must not make a new one over the old */
        MODEL_CHECK(rc == KIST_ECORRUPT || rc == KIST_ENOTKIST, "header cut to %zu of %zu: %s", n, len, kist_error_name(rc));
        model_file_write(p, data, len);
        if (n % 16 == 0)
            check_ten(copy);
    }
    free(data);
}

static void wrong_secrets(void **state)
{
    (void)state;
    struct kist_options o = model_options();
    struct kist_store *s = NULL;
    uint8_t key[32];
    make_ten(path);
    memcpy(key, model_key, 32);
    key[31] ^= 1;
    o.key.ptr = key;
    MODEL_CODE(KIST_EKEY, kist_open(path, &o, &s));
    o.key = (struct kist_secret){.kind = KIST_SECRET_PASSPHRASE, .ptr = "wrong", .len = 5};
    MODEL_CODE(KIST_EKEY, kist_open(path, &o, &s));
    o.key = (struct kist_secret){.kind = KIST_SECRET_KEY, .ptr = model_key, .len = 31};
    MODEL_CODE(KIST_EINVAL, kist_open(path, &o, &s));
    o.key = (struct kist_secret){.kind = KIST_SECRET_NONE};
    int rc = kist_open(path, &o, &s);
    MODEL_CHECK(rc == KIST_EINVAL || rc == KIST_EKEY, "without a key: %s", kist_error_name(rc));
    o.key = (struct kist_secret){.kind = KIST_SECRET_PASSPHRASE, .ptr = "", .len = 0};
    rc = kist_open(path, &o, &s);
    MODEL_CHECK(rc == KIST_EINVAL, "an empty passphrase: %s", kist_error_name(rc));
    assert_null(s);
    check_ten(path);
}

/* -- a full disk -- */

static bool mount_small(const char *at)
{
    MODEL_CHECK(mkdir(at, 0700) == 0, "%s", strerror(errno));
    if (mount("tmpfs", at, "tmpfs", 0, "size=2m") == 0)
        return true;
    printf("cannot mount a tmpfs (%s): skipped\n", strerror(errno));
    return false;
}

static void full_disk_child(const char *p)
{
    static uint8_t block[40000];
    struct kist_store *s = model_open(p);
    struct kist_bucket *b = model_default(s);
    char key[24];
    int rc = 0, n = 0;
    for (; n < 1000; n++) {
        snprintf(key, sizeof key, "fill/%d", n);
        block[0] = (uint8_t)n;
        if ((rc = kist_put(b, model_text(key), model_bytes(block, sizeof block), NULL, NULL)))
            break;
    }
    MODEL_CHECK(rc == KIST_ENOSPC && n > 10, "the disk never fills: %d puts, %s", n, kist_error_name(rc));
    for (int i = 0; i < n; i++) { /* reads work */
        struct kist_value v = {0};
        snprintf(key, sizeof key, "fill/%d", i);
        MODEL_OK(kist_get(b, model_text(key), &v));
        MODEL_CHECK(v.len == sizeof block && *(uint8_t *)v.data == (uint8_t)i, "fill/%d differs", i);
        kist_value_free(&v);
    }
    expect_ten(b);
    for (int i = 0; i < n; i++) { /* deletes work */
        snprintf(key, sizeof key, "fill/%d", i);
        rc = kist_delete(b, model_text(key), NULL, NULL, NULL);
        MODEL_CHECK(rc == 0, "delete %d of %d on a full disk: %s", i, n, kist_error_name(rc));
    }
    rc = kist_compact(s, NULL, NULL);
    MODEL_CHECK(rc == 0, "compact on a full disk: %s", kist_error_name(rc));
    for (int i = 0; i < n / 2; i++) {
        snprintf(key, sizeof key, "again/%d", i);
        rc = kist_put(b, model_text(key), model_bytes(block, sizeof block), NULL, NULL);
        MODEL_CHECK(rc == 0, "put %d of %d after making room: %s", i, n / 2, kist_error_name(rc));
    }
    expect_ten(b);
    model_verify(s);
    kist_bucket_close(&b);
    kist_close(&s);
    model_exit(0);
}

static void a_full_disk_reads_deletes_and_frees(void **state)
{
    (void)state;
    char p[MODEL_PATH_MAX], small[MODEL_PATH_MAX];
    if (!mount_small(model_join(small, dir, "small")))
        skip();
    model_join(p, small, "store");
    make_ten(p);
    pid_t pid = model_fork(60);
    if (pid == 0)
        full_disk_child(p);
    int status = model_wait_status(pid);
    if (status == 0) {
        pid = model_fork(30);
        if (pid == 0) {
            check_ten(p);
            model_exit(0);
        }
        status = model_wait_status(pid);
    }
    (void)umount2(small, MNT_DETACH);
    MODEL_CHECK(status == 0, "status 0x%x", status);
}

/* Filled to the last byte by somebody else, at each step of making a store. */
static void making_a_store_on_a_full_disk(void **state)
{
    (void)state;
    char p[MODEL_PATH_MAX], small[MODEL_PATH_MAX], filler[MODEL_PATH_MAX];
    if (!mount_small(model_join(small, dir, "small")))
        skip();
    pid_t pid = model_fork(60);
    if (pid == 0) {
        model_join(p, small, "store");
        model_join(filler, small, "filler");
        for (size_t room = 0; room <= 512 * 1024; room += room < 65536 ? 4096 : 65536) {
            struct kist_store *s = NULL;
            int fd = open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            MODEL_CHECK(posix_fallocate(fd, 0, (off_t)((2 << 20) - room)) == 0 || room == 0, "fill");
            if (room == 0)
                while (posix_fallocate(fd, lseek(fd, 0, SEEK_END), 4096) == 0)
                    continue;
            close(fd);
            int rc = try_open(p, KIST_OPEN_CREATE, &s);
            MODEL_CHECK(rc == 0 || rc == KIST_ENOSPC, "create with %zu bytes of room: %s", room, kist_error_name(rc));
            kist_close(&s);
            unlink(filler);
            rc = try_open(p, KIST_OPEN_CREATE, &s); /* what is left must not be in the way */
            MODEL_CHECK(rc == 0, "create after %zu bytes of room: %s", room, kist_error_name(rc));
            kist_close(&s);
            model_remove_tree(p);
        }
        model_exit(0);
    }
    int status = model_wait_status(pid);
    (void)umount2(small, MNT_DETACH);
    MODEL_CHECK(status == 0, "status 0x%x", status);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_path_that_is_something_else),
        TEST(a_directory_with_other_things_in_it),
        TEST(files_are_private_whatever_the_umask),
        TEST(directories_without_rights),
        TEST(a_read_only_file_system),
        TEST(nothing_is_written_through_a_read_only_handle),
        TEST(a_lock_file_that_is_missing_between_sessions),
        TEST(a_lock_file_that_goes_away_while_open),
        TEST(files_may_not_grow),
        TEST(descriptors_run_out),
        TEST(a_header_cut_at_each_byte),
        TEST(wrong_secrets),
        TEST(a_full_disk_reads_deletes_and_frees),
        TEST(making_a_store_on_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
