/* editor.c: the user's editor.
 *
 * It is run as git runs it: by the shell, so that it may have arguments and its path may have
 * blanks when they are quoted, with the file as an argument of its own. While it runs, signals are
 * held back and taken one by one with sigtimedwait(): no handler, no race between a look and a
 * wait. SIGINT and SIGQUIT come from the keyboard to the editor as well and are its to answer; what
 * else would end us ends the editor, with SIGHUP or SIGTERM, and when it does not end within two
 * seconds it is killed. */
#include "cli/editor.h"

#include "base/os.h"
#include "cli/report.h"
#include "cli/signals.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EDITOR_PATIENCE_S 2
#define EDITOR_DEPTH 8 /* processes below each other that are told to end */

static void editor_signals(sigset_t *out)
{
    signals_ending(out);
    sigaddset(out, SIGCHLD);
}

void editor_begin(struct editor *e)
{
    sigset_t held;
    e->ended_by = 0;
    (void)signal(SIGCHLD, SIG_DFL); /* inherited as ignored it would hide the editor's end */
    editor_signals(&held);
    (void)sigprocmask(SIG_BLOCK, &held, &e->before);
}

/* Raised while it is still held back, so that it comes at once when it is let through. */
void editor_end(struct editor *e)
{
    if (e->ended_by)
        (void)raise(e->ended_by);
    (void)sigprocmask(SIG_SETMASK, &e->before, NULL);
}

static const char *editor_command(void)
{
    const char *visual = os_getenv("VISUAL"), *editor = os_getenv("EDITOR");
    return visual ? visual : editor ? editor : "vi";
}

/* In the child. */
static void editor_exec(const struct editor *e, const char *editor, const char *path)
{
    char script[4096];
    char *end = stpncpy(script, editor, sizeof script - 8);
    if (end == script + sizeof script - 8)
        _exit(126);
    stpcpy(end, " \"$@\"");
    (void)sigprocmask(SIG_SETMASK, &e->before, NULL);
    (void)execl("/bin/sh", "sh", "-c", script, editor, path, (char *)NULL);
    _exit(127);
}

/* To the shell and to what it runs: a shell alone would leave its editor behind. The kernel's list
 * of children may be missing. */
static void editor_signal(pid_t child, int number, int depth)
{
    char path[64], list[1024];
    size_t n = 0;
    int fd = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)child, (int)child);
    if (depth > 0 && os_open(OS_AT_CWD, path, OS_READONLY, &fd) == 0 && os_read(fd, list, sizeof list - 1, 0, &n) == 0) {
        list[n] = '\0';
        for (char *p = list, *end; *p; p = *end ? end + 1 : end) {
            long pid = strtol(p, &end, 10);
            if (end == p)
                break;
            editor_signal((pid_t)pid, number, depth - 1);
        }
    }
    os_close(&fd);
    (void)kill(child, number);
}

/* Until the child has ended: its status. Held-back signals are answered meanwhile. */
static int editor_wait(struct editor *e, pid_t child)
{
    const struct timespec patience = {EDITOR_PATIENCE_S, 0};
    sigset_t held;
    int status = 0;
    editor_signals(&held);
    for (;;) {
        pid_t got = waitpid(child, &status, WNOHANG);
        if (got == child || (got < 0 && errno != EINTR))
            return got == child ? status : -1;
        int number = sigtimedwait(&held, NULL, e->ended_by ? &patience : NULL);
        if (number < 0 && errno == EAGAIN)
            editor_signal(child, SIGKILL, EDITOR_DEPTH);
        if (number > 0 && number != SIGCHLD && number != SIGINT && number != SIGQUIT) {
            e->ended_by = number;
            editor_signal(child, number == SIGHUP ? SIGHUP : SIGTERM, EDITOR_DEPTH);
        }
    }
}

int editor_run(const char *command, struct editor *e, const char *path)
{
    const char *editor = editor_command();
    pid_t child = fork();
    if (child < 0)
        return report_failed(command, "cannot start the editor: %s", strerror(errno));
    if (child == 0)
        editor_exec(e, editor, path);
    int status = editor_wait(e, child);
    if (e->ended_by)
        return report_failed(command, "ended by a signal: nothing is stored");
    if (status < 0)
        return report_failed(command, "the editor was lost: nothing is stored");
    if (WIFSIGNALED(status)) {
        if (WTERMSIG(status) == SIGINT)
            e->ended_by = SIGINT;
        return report_failed(command, "the editor was ended by signal %d: nothing is stored", WTERMSIG(status));
    }
    if (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 126)
        return report_failed(command, "the editor cannot be run (VISUAL or EDITOR say which): nothing is stored");
    if (WEXITSTATUS(status) != 0)
        return report_failed(command, "the editor failed (exit status %d): nothing is stored", WEXITSTATUS(status));
    return 0;
}
