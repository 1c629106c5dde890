/* The one thread that a store may have: it gives the engine its slices of background work. */
#ifndef KIST_MODEL_MAINTAIN_H
#define KIST_MODEL_MAINTAIN_H

#include "base/error.h"
#include "engine/engine.h"

struct maintain;

/* KIST_ENOMEM when no thread can be had. The engine outlives it. */
int maintain_start(struct engine *engine, struct maintain **out) KIST_MUST_USE;
/* End the thread, wait for its slice to finish, set *m to NULL; NULL is fine. */
void maintain_stop(struct maintain **m);

#endif
