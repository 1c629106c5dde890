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
    struct kist_detail detail; /* of a failed open or restore */
};

enum session_need { SESSION_READ, SESSION_WRITE };

/* Find the secret and open the store; then, with session_bucket(), the bucket. 0, a negative
 * KIST_E…, or the exit status after saying what is wrong. */
int session_open(struct session *s, enum session_need need) KIST_MUST_USE;
int session_bucket(struct session *s, enum session_need need) KIST_MUST_USE;
/* The same with a secret that is at hand. */
int session_open_with(struct session *s, const struct credential *c, enum kist_open_mode mode) KIST_MUST_USE;
int session_path(struct session *s, const char **out_path) KIST_MUST_USE; /* where the store is */
/* The same, and the options that all ways of opening it share. */
int session_options(struct session *s, const struct credential *c, const char **out_path, struct kist_options *out) KIST_MUST_USE;
/* Say why it failed: detail, or when that is "" what the store has said about it. where: as for
 * report_error(). Returns the exit status. */
int session_failed(const struct session *s, const char *where, int code, const char *detail);
/* A change that was to make the key of --new-key open the store has failed with code: remove its
 * file if it is certain that the key opens nothing, else say that it must be kept. */
void session_forget_key(struct session *s, const struct credential *made, int code);
/* Close what is open. */
void session_close(struct session *s);
/* The n-th argument as bytes. */
struct kist_bytes session_word(const struct session *s, int n);
/* A progress line on standard error, if that is a terminal; ctx is unused. And its end. */
kist_progress_fn *session_progress(void);
void session_progress_end(void);

#endif
