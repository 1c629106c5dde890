/* Inside the JSON files: walking by hand, name and value apart. */
#ifndef KIST_MODEL_JSON_WALK_H
#define KIST_MODEL_JSON_WALK_H

#include "model/json.h"

/* The next name of the object; then p is at its value, to be taken by json_members_value() or
 * walked otherwise. False at the closing brace, with p on it. */
bool json_members_name(struct json_members *m, struct kist_bytes *out_name);
struct kist_bytes json_members_value(struct json_members *m);
/* As json_text(), halves of surrogate pairs encoded like characters; returns how many. */
size_t json_text_loose(struct kist_bytes string, struct buf *out);

#endif
