/* The secrets of the public header as the crypt room knows them. */
#ifndef KIST_MODEL_KEYS_H
#define KIST_MODEL_KEYS_H

#include "base/error.h"
#include "crypt/unlock.h"

/* Check a secret and borrow it. KIST_EINVAL (none, a wrong length, the all-zero key, costs out of
 * range), KIST_ETOOBIG. */
int keys_unlock(const struct kist_secret *secret, struct error_detail *detail, struct unlock *out) KIST_MUST_USE;
/* For reading what a stranger may have written: what the secret says of costs becomes the maximum;
 * where it says nothing, twice the default passes and four times the default memory. */
void keys_limit(struct unlock *u);

#endif
