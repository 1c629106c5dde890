/* The error codes inside the library: the public ones, and the detail text a handle carries. */
#ifndef KIST_BASE_ERROR_H
#define KIST_BASE_ERROR_H

#include "kist.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#define KIST_MUST_USE __attribute__((warn_unused_result))
#define KIST_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* The detail of the last failure, kept inside whatever handle failed. It never holds a key name or a
 * value: those are a user's secrets. Any thread may write it and any may copy it: the last one wins. */
struct error_detail {
    char text[256];
    _Atomic uint32_t busy; /* held for the copying of the text, by spinning; 0 to begin with */
};

void error_copy(struct error_detail *detail, char out_text[256]);

/* Remember a sentence. detail may be NULL. */
void error_note(struct error_detail *detail, const char *format, ...) KIST_PRINTF(2, 3);
/* The same, and the value is code: `return error_set(d, KIST_EIO, "...")`. A macro, so that everybody sees that it is not 0. */
#define error_set(detail, code, ...) (error_note((detail), __VA_ARGS__), (code))

/* The KIST_E… that names an errno best (KIST_EIO when none does). Never 0. */
int error_from_errno(int err);

#endif
