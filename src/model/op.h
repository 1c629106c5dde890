/* One operation as one line of JSON: what `kist txn` and `kist import` read, what `kist export`
 * writes.
 *
 *     {"set":KEY,"value":ANY}    also "base64":"…" for "value"; "type":"raw"|"int"|"float"|"json"
 *     {"delete":KEY}  {"get":KEY}  {"incr":KEY,"by":NUMBER}  {"append":KEY,"value":ANY}
 * {"merge":KEY,"value":ANY} each but get with "ttl":SECONDS (null: never) and "if_revision":N (0:
 * must not exist); set with "expires_ms":N
 *
 * KEY is a string, or {"base64":"…"} for a name that is not UTF-8. A value that is a JSON string
 * stands for its text; any other stands for its JSON text, to the byte. The type is detected,
 * unless it is given; with "type":"json" a string stands for its JSON text, too. */
#ifndef KIST_MODEL_OP_H
#define KIST_MODEL_OP_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

enum op_kind { OP_NONE = 0, OP_SET, OP_DELETE, OP_GET, OP_INCR, OP_APPEND, OP_MERGE };

struct op {
    enum op_kind kind;
    struct kist_bytes key;   /* both borrowed from the line or from the room */
    struct kist_bytes value; /* set, append, merge */
    bool by_float;           /* incr: by_f counts, else by_i */
    int64_t by_i;
    double by_f;
    int64_t expires_ms; /* set: absolute; 0: not given */
    struct kist_put_options options;
};

/* room is where decoded text goes: reset and grown here, it must outlive the op. KIST_EJSON: not
 * JSON; KIST_EINVAL: not an operation; KIST_ERANGE: "by" is an int beyond 64 bits. detail says what
 * is wrong, without quoting anything. */
int op_parse(struct kist_bytes line, struct buf *room, struct op *out, struct error_detail *detail) KIST_MUST_USE;

/* Append the line (with its newline) that op_parse() reads as putting this record as it is. Without
 * the revision. */
void op_add_record(struct buf *out, const struct kist_record *record);
/* Append a key as KEY above. */
void op_add_key(struct buf *out, struct kist_bytes key);
/* Append `"value":…` or `"base64":"…"`, and `,"type":"…"`. */
void op_add_value(struct buf *out, struct kist_bytes value, enum kist_type type);
/* Append the value alone: numbers and JSON as they are, text as a string, anything else as
 * {"base64":"…"}. */
void op_add_plain(struct buf *out, struct kist_bytes value, enum kist_type type);
/* "raw", "int", "float", "json". */
const char *op_type_name(enum kist_type type);
/* KIST_EINVAL: none of these. "detect" is one, too. */
int op_type_parse(struct kist_bytes text, enum kist_type *out) KIST_MUST_USE;

#endif
