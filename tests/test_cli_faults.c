/* The program kist where the disk fails under it. A library that is loaded before the C library
 * makes fsync() and fdatasync() of one file fail, from when another one exists. Where there is no
 * compiler to make it the tests are skipped. */
#include "cli_rig.h"

static const char *const shim = "cat >shim.c <<'C'\n"
                                "#define _GNU_SOURCE\n"
                                "#include <errno.h>\n"
                                "#include <limits.h>\n"
                                "#include <stdio.h>\n"
                                "#include <stdlib.h>\n"
                                "#include <string.h>\n"
                                "#include <sys/syscall.h>\n"
                                "#include <unistd.h>\n"
                                "static int fails(int fd)\n"
                                "{\n"
                                "    char link[64], path[PATH_MAX];\n"
                                "    const char *what = getenv(\"FAIL\"), *when = getenv(\"WHEN\");\n"
                                "    snprintf(link, sizeof link, \"/proc/self/fd/%d\", fd);\n"
                                "    ssize_t n = readlink(link, path, sizeof path - 1);\n"
                                "    path[n < 0 ? 0 : n] = 0;\n"
                                "    if (!what || strcmp(path, what) != 0 || (when && access(when, F_OK) != 0))\n"
                                "        return 0;\n"
                                "    errno = EIO;\n"
                                "    return 1;\n"
                                "}\n"
                                "int fsync(int fd) { return fails(fd) ? -1 : (int)syscall(SYS_fsync, fd); }\n"
                                "int fdatasync(int fd) { return fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }\n"
                                "C\n"
                                "cc -shared -fPIC -o shim.so shim.c";

static void need_shim(void)
{
    if (run("command -v cc >/dev/null") != 0)
        skip();
    check(0, "", shim);
    setenv("SHIM", "LD_PRELOAD=./shim.so", 1);
}

/* The new header is in place, but may be gone after a power cut: either key may be the one. */
static void a_new_key_stays_when_it_may_be_the_key_now(void **state)
{
    (void)state;
    need_shim();
    check(0, "", "kist put a v");
    check(1, "*outcome of the commit is unknown", "FAIL=$PWD/store env $SHIM kist passwd --new-key key2");
    assert_non_null(strstr(output, "kist: passwd: keep key2: it may be the key now\n"));
    check(0, "v", "kist --key-file key2 get a");
    check(1, "*keep key3: it may be the key now", "FAIL=$PWD/store env $SHIM kist slots add --key-file key2 --new-key key3");
    check(0, "v", "kist --key-file key3 get a");
}

static void a_new_key_goes_when_it_opens_nothing(void **state)
{
    (void)state;
    need_shim();
    check(0, "", "kist put a v");
    check(1, "*input/output error", "FAIL=$PWD/store/header.tmp env $SHIM kist passwd --new-key key2");
    check(1, "*input/output error", "FAIL=$PWD/store/header.tmp env $SHIM kist slots add --new-key key3");
    check(1, "*input/output error", "FAIL=$PWD/fresh/header.tmp env $SHIM kist -s fresh init --new-key key4");
    check(2, NULL, "ls key2 key3 key4 2>/dev/null");
    check(0, "v", "kist get a");
}

/* The header is there, the first commit fails. */
static void init_keeps_the_key_of_a_header_that_was_made(void **state)
{
    (void)state;
    need_shim();
    check(1, "*keep key2: it may be the key now",
          "export WHEN=$PWD/fresh/header FAIL=$PWD/fresh/000000000001.log; "
          "exec env $SHIM kist -s fresh init --new-key key2");
    check(0, "v", "kist -s fresh --key-file key2 put a v && kist -s fresh --key-file key2 get a");
}

static void a_backup_whose_name_is_not_durable_is_none(void **state)
{
    (void)state;
    need_shim();
    check(1, "*input/output error", "mkdir out; FAIL=$PWD/out exec env $SHIM kist backup out/b");
    check(1, NULL, "test -e out/b");
    check(0, NULL, "kist backup out/b && kist -s copy restore out/b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_key_stays_when_it_may_be_the_key_now),
        TEST(a_new_key_goes_when_it_opens_nothing),
        TEST(init_keeps_the_key_of_a_header_that_was_made),
        TEST(a_backup_whose_name_is_not_durable_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
