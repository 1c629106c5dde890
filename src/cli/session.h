/* One run of the program: its arguments, the store and the bucket that it works on, its output. */
#ifndef KIST_CLI_SESSION_H
#define KIST_CLI_SESSION_H

#include "cli/args.h"
#include "cli/credential.h"
#include "cli/output.h"

struct session {
    struct args args;
    const char *command; /* its name */
    struct output out;
    struct kist_store *store;
    struct kist_bucket *bucket;
    struct kist_detail detail; /* of a failed open or restore; of a store that is open, what it said
                                  before the command */
};

enum session_need { SESSION_READ, SESSION_WRITE };

/* Find the secret and open the store; then, with session_bucket(), the bucket. 0, a negative
 * KIST_E…, or the exit status after saying what is wrong. */
int session_open(struct session *s, enum session_need need) KIST_MUST_USE;
int session_bucket(struct session *s, enum session_need need) KIST_MUST_USE;
/* Where the store is, and the options that all ways of opening it share. */
int session_options(struct session *s, const struct credential *c, const char **out_path,
                    struct kist_options *out) KIST_MUST_USE;
/* Close what is open. */
void session_close(struct session *s);
/* The n-th argument as bytes. */
struct kist_bytes session_word(const struct session *s, int n);
/* A progress line on standard error, if that is a terminal; ctx is unused. And its end. */
kist_progress_fn *session_progress(void);
void session_progress_end(void);

#endif
