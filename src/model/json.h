/* JSON as text: checked, walked, merged and written without ever becoming a tree of objects. */
#ifndef KIST_MODEL_JSON_H
#define KIST_MODEL_JSON_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

#define JSON_DEPTH_MAX 1000    /* arrays and objects inside each other */
#define JSON_PATCH_MAX 1000000 /* members in a merge patch, all levels together */

/* Is the whole text one JSON value (RFC 8259, duplicate names allowed) of at most JSON_DEPTH_MAX
 * levels? KIST_EJSON. */
int json_check(struct kist_bytes text) KIST_MUST_USE;
/* A number in JSON's grammar and nothing else, of any size. */
bool json_is_number(struct kist_bytes text);
/* Well-formed UTF-8 (no surrogates, no overlong forms)? */
bool json_is_utf8(struct kist_bytes text);
/* Without JSON's white space at both ends. */
struct kist_bytes json_trim(struct kist_bytes text);

/* Walk the members of an object, whose text json_check() has passed and json_trim() has trimmed. */
struct json_members {
    const uint8_t *p;
};
struct json_member {
    struct kist_bytes name;  /* as written, with the quotes */
    struct kist_bytes value; /* as written, trimmed */
};
/* False when the text is not an object. */
bool json_members_init(struct json_members *m, struct kist_bytes object);
bool json_members_next(struct json_members *m, struct json_member *out);

/* Append what a JSON string (with its quotes) says. KIST_EJSON: half a surrogate pair, which is no
 * character. */
int json_text(struct kist_bytes string, struct buf *out) KIST_MUST_USE;
/* Append text, which is UTF-8, as a JSON string, control characters escaped. */
void json_add_string(struct buf *out, struct kist_bytes text);

/* RFC 7386. target may be empty: {}. Names and values that the patch does not touch stay as they
 * were written, numbers included. KIST_EJSON: the patch; KIST_ETYPE: the target; KIST_ETOOBIG; on
 * failure out is as it was (but may have grown its room). */
int json_merge_patch(struct kist_bytes target, struct kist_bytes patch, struct buf *out) KIST_MUST_USE;

#endif
