/* prompt.c: asking.
 *
 * A secret is asked for on /dev/tty, so that standard input stays free for values. Echo comes back
 * on every way out: signals that end or stop the program are caught while it is off, end the read,
 * and are raised again afterwards. */
#include "cli/prompt.h"

#include "base/os.h"
#include "cli/input.h"
#include "cli/report.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int prompt_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGALRM};
#define PROMPT_SIGNALS (sizeof prompt_signals / sizeof prompt_signals[0])

static volatile sig_atomic_t prompt_caught;

static void prompt_catch(int number)
{
    prompt_caught = number;
}

static void prompt_say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        return; /* the read will fail as well */
}

/* A line of the terminal: the kernel gives it at once. KIST_ETIMEOUT: a signal came. */
static int prompt_read(int fd, size_t limit, struct buf *out)
{
    for (;;) {
        uint8_t byte;
        if (prompt_caught)
            return KIST_ETIMEOUT;
        ssize_t n = read(fd, &byte, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return KIST_EIO;
        if (n == 0 || byte == '\n')
            return buf_status(out);
        if (out->len == limit)
            return KIST_ETOOBIG;
        buf_add_u8(out, byte);
    }
}

static int prompt_quietly(int fd, const char *question, size_t limit, struct buf *out)
{
    struct sigaction before[PROMPT_SIGNALS], catch = {.sa_handler = prompt_catch};
    struct termios shown, hidden;
    int r = KIST_EIO;
    if (tcgetattr(fd, &shown) < 0)
        return r;
    prompt_caught = 0;
    sigemptyset(&catch.sa_mask);
    for (size_t i = 0; i < PROMPT_SIGNALS; i++)
        (void)sigaction(prompt_signals[i], &catch, &before[i]);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    if (tcsetattr(fd, TCSAFLUSH, &hidden) == 0) {
        prompt_say(fd, question);
        r = prompt_read(fd, limit, out);
        (void)tcsetattr(fd, TCSAFLUSH, &shown);
        prompt_say(fd, "\n");
    }
    for (size_t i = 0; i < PROMPT_SIGNALS; i++)
        (void)sigaction(prompt_signals[i], &before[i], NULL);
    return r;
}

int prompt_secret(const char *command, const char *question, size_t limit, struct buf *out)
{
    int fd = -1, r = KIST_ETIMEOUT;
    if (os_open(OS_AT_CWD, "/dev/tty", 0, &fd) < 0)
        return report_code(command, KIST_EKEY,
                           "no key: give --key-file or --passphrase-fd, or set KIST_KEY_FILE "
                           "(there is no terminal to ask on)");
    (void)buf_reserve(out, limit + 1);
    while (r == KIST_ETIMEOUT) {
        buf_reset(out);
        r = prompt_quietly(fd, question, limit, out);
        if (r == KIST_ETIMEOUT)
            (void)raise(prompt_caught); /* comes back only from a stop */
        if (r == KIST_ETIMEOUT && prompt_caught != SIGTSTP)
            break;
    }
    os_close(&fd);
    if (r == KIST_ETOOBIG)
        return report_failed(command, "the passphrase is longer than %zu bytes", limit);
    return r == KIST_EIO || r == KIST_ETIMEOUT
               ? report_failed(command, "cannot read from the terminal")
               : r;
}

bool prompt_yes(const char *question, bool fallback)
{
    struct buf line;
    bool end = false, yes = fallback;
    buf_init(&line, false);
    prompt_say(STDERR_FILENO, question);
    int r = input_line(STDIN_FILENO, 100, &line, &end);
    if (r < 0 || end)
        yes = false;
    else if (line.len)
        yes = line.data[0] == 'y' || line.data[0] == 'Y';
    buf_done(&line);
    return yes;
}
