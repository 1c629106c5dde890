/* error.c: what an error is called.
 *
 * Every text, HTTP status and exit code comes from errors.def, so that a row added there appears
 * everywhere at once. errno is translated here and nowhere else: callers above base/ see KIST_E…
 * only. */
#include "base/error.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

const char *kist_strerror(int code)
{
    switch (code) {
    case KIST_OK:
        return "ok";
#define ERROR(name, number, http, exit_code, text) \
    case KIST_##name:                              \
        return text;
#include "base/errors.def"
#undef ERROR
    default:
        return "unknown error";
    }
}

const char *kist_error_name(int code)
{
    switch (code) {
    case KIST_OK:
        return "KIST_OK";
#define ERROR(name, number, http, exit_code, text) \
    case KIST_##name:                              \
        return "KIST_" #name;
#include "base/errors.def"
#undef ERROR
    default:
        return "KIST_UNKNOWN";
    }
}

int kist_error_exit(int code)
{
    switch (code) {
    case KIST_OK:
        return 0;
#define ERROR(name, number, http, exit_code, text) \
    case KIST_##name:                              \
        return exit_code;
#include "base/errors.def"
#undef ERROR
    default:
        return 1;
    }
}

int kist_error_http(int code)
{
    switch (code) {
    case KIST_OK:
        return 200;
#define ERROR(name, number, http, exit_code, text) \
    case KIST_##name:                              \
        return http;
#include "base/errors.def"
#undef ERROR
    default:
        return 500;
    }
}

static void error_hold(struct error_detail *detail)
{
    while (atomic_exchange_explicit(&detail->busy, 1, memory_order_acquire))
        (void)sched_yield();
}

static void error_let_go(struct error_detail *detail)
{
    atomic_store_explicit(&detail->busy, 0, memory_order_release);
}

void error_note(struct error_detail *detail, const char *format, ...)
{
    char text[sizeof detail->text] = "";
    va_list args;
    if (!detail)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    error_hold(detail);
    memcpy(detail->text, text, sizeof text);
    error_let_go(detail);
}

void error_copy(struct error_detail *detail, char out_text[256])
{
    error_hold(detail);
    memcpy(out_text, detail->text, sizeof detail->text);
    error_let_go(detail);
}

int error_from_errno(int err)
{
    switch (err) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return KIST_ENOSPC;
    case ENOMEM:
        return KIST_ENOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
        return KIST_EDENIED;
    case EMFILE:
    case ENFILE:
        return KIST_EFDS;
    case ENOENT:
    case ENOTDIR:
        return KIST_ENOSTORE;
    case EEXIST:
        return KIST_EEXIST;
    case EAGAIN:
    case EBUSY:
        return KIST_EBUSY;
    case ETIMEDOUT:
        return KIST_ETIMEOUT;
    case EOPNOTSUPP:
    case ENOSYS:
        return KIST_ENOTSUP;
    default:
        return KIST_EIO;
    }
}
