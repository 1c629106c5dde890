/* The program kist, run from outside by tests/test_cli*.c: each test has a store of its own in a
 * directory that goes away, where sh runs its scripts. */
#ifndef KIST_TESTS_CLI_RIG_H
#define KIST_TESTS_CLI_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define OUTPUT_MAX (1 << 20)

static char dir[256];
static char output[OUTPUT_MAX];
static size_t output_len;

static inline int wait_status(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Run a script; what it writes on 1 and 2 goes to output. Its status, 128 and the signal when one
 * ended it. */
static inline int run(const char *script)
{
    int pipes[2];
    ssize_t n;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(pipes[1], 1);
        dup2(pipes[1], 2);
        close(pipes[0]);
        close(pipes[1]);
        setsid(); /* no terminal */
        if (chdir(dir) < 0)
            _exit(99);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(99);
    }
    close(pipes[1]);
    output_len = 0;
    while ((n = read(pipes[0], output + output_len, OUTPUT_MAX - 1 - output_len)) > 0)
        output_len += (size_t)n;
    close(pipes[0]);
    output[output_len] = '\0';
    return wait_status(child);
}

/* expected NULL: whatever it prints; else it must be exactly that, or contain it when it begins
 * with a star. */
__attribute__((noinline)) static void check(int status, const char *expected, const char *script)
{
    int got = run(script);
    bool same = !expected || (*expected == '*' ? strstr(output, expected + 1) != NULL : strcmp(output, expected) == 0);
    if (got != status || !same)
        fail_msg("%s\n--- status %d, expected %d; output:\n%s\n--- expected:\n%s", script, got, status, output,
                 expected ? expected : "(anything)");
}

static inline int tear_down(void **state)
{
    char script[700];
    (void)state;
    snprintf(script, sizeof script, "cd / && chmod -R u+rwx '%s' && rm -rf '%s'", dir, dir);
    return run(script);
}

static inline int set_up(void **state)
{
    char path[600];
    const char *tmp = getenv("TMPDIR"), *kist = getenv("KIST");
    (void)state;
    if (!kist)
        return -1;
    snprintf(dir, sizeof dir, "%s/kist-cli-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/kist", dir);
    if (symlink(kist, path) < 0)
        return -1;
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
    setenv("PATH", path, 1);
    setenv("HOME", dir, 1);
    setenv("LC_ALL", "C", 1);
    unsetenv("XDG_DATA_HOME");
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("VISUAL");
    unsetenv("EDITOR");
    snprintf(path, sizeof path, "%s/store", dir);
    setenv("KIST_STORE", path, 1);
    snprintf(path, sizeof path, "%s/key", dir);
    setenv("KIST_KEY_FILE", path, 1);
    if (run("kist init --new-key key") == 0)
        return 0;
    fprintf(stderr, "%s", output);
    (void)tear_down(state);
    return -1;
}

/* A session at a terminal: answers are sent one after the other, each when a question (": ") was
 * printed. Those that begin with ! are run by sh in front of the next. Returns the status; a
 * session that waits for ever is hung up. */
static inline int at_terminal(const char *script, const char *const *answers)
{
    int fd;
    pid_t child = forkpty(&fd, NULL, NULL, NULL);
    assert_true(child >= 0);
    if (child == 0) {
        if (chdir(dir) < 0)
            _exit(99);
        alarm(30);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(99);
    }
    output_len = 0;
    output[0] = '\0';
    for (;;) {
        ssize_t n = read(fd, output + output_len, OUTPUT_MAX - 1 - output_len);
        if (n <= 0)
            break;
        output_len += (size_t)n;
        output[output_len] = '\0';
        if (output_len < 2 || strcmp(output + output_len - 2, ": ") != 0)
            continue;
        for (; *answers && **answers == '!'; answers++)
            assert_int_equal(system(*answers + 1), 0);
        if (*answers) {
            assert_true(write(fd, *answers, strlen(*answers)) > 0);
            answers++;
        }
    }
    close(fd);
    return wait_status(child);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
