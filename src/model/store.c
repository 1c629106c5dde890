/* store.c: opening and closing a store, and the calls that concern it as a whole.
 *
 * It checks what a caller gave (input, never asserted), opens the engine, sees to it that the
 * bucket "default" exists, and starts the maintenance thread when asked. Every public function
 * starts with store_check() or bucket_check(): a child of fork() shares the parent's file
 * descriptions and so its locks, and would unlock what the parent holds. It may only close what it
 * inherited; the engine knows a child by itself then, and frees memory without letting go of
 * anything.
 *
 * The detail of the last failure is one text per store. A text per thread was dropped: the door
 * that shows it (the program, the server) reads it right after the failing call, and a thread-local
 * one would outlive the store. */
#include "model/store.h"

#include "base/os.h"
#include "model/bucket.h"
#include "model/catalog.h"
#include "model/keys.h"
#include "model/options.h"

#include <stdio.h>
#include <string.h>

#define STORE_LOCK_MS 10000 /* lock_timeout_ms 0 */

#define STORE_TEXT2(x) #x
#define STORE_TEXT(x) STORE_TEXT2(x)

const char *kist_version(void)
{
    return STORE_TEXT(KIST_VERSION_MAJOR) "." STORE_TEXT(KIST_VERSION_MINOR) "." STORE_TEXT(KIST_VERSION_PATCH);
}

/* -- opening -- */

static bool store_is_memory(const char *path, const struct kist_options *o)
{
    return o->engine == KIST_ENGINE_MEMORY || (path && strcmp(path, ":memory:") == 0);
}

static int store_ranges(const struct kist_options *o, struct error_detail *detail)
{
    if ((unsigned)o->mode > KIST_OPEN_SALVAGE)
        return error_set(detail, KIST_EINVAL, "unknown open mode %d", (int)o->mode);
    if ((unsigned)o->engine > KIST_ENGINE_MEMORY)
        return error_set(detail, KIST_EINVAL, "unknown engine %d", (int)o->engine);
    if ((unsigned)o->sync > KIST_SYNC_NONE)
        return error_set(detail, KIST_EINVAL, "unknown sync mode %d", (int)o->sync);
    if (o->flags & ~(unsigned)(KIST_MAINTENANCE | KIST_NO_MAP))
        return error_set(detail, KIST_EINVAL, "unknown open flags 0x%x", o->flags);
    if (o->suite < 0 || o->suite > 2)
        return error_set(detail, KIST_EINVAL, "unknown suite %d: 1 or 2", o->suite);
    return 0;
}

int store_options(const struct kist_options *options, struct error_detail *detail, struct unlock *out_unlock,
                  struct engine_options *out)
{
    int r = store_ranges(options, detail);
    if (r < 0)
        return r;
    *out = (struct engine_options){.mode = options->mode,
                                   .sync = options->sync,
                                   .flags = options->flags & KIST_NO_MAP,
                                   .lock_timeout_ms = options->lock_timeout_ms ? options->lock_timeout_ms : STORE_LOCK_MS,
                                   .suite = options->suite ? options->suite : 1};
    if (options->key.kind == KIST_SECRET_NONE)
        return 0;
    r = keys_unlock(&options->key, detail, out_unlock);
    if (r < 0)
        return r;
    out->unlock = out_unlock;
    return 0;
}

static int store_path(const char *path, const struct kist_options *o, struct error_detail *detail)
{
    if (store_is_memory(path, o)) {
        if (o->mode == KIST_OPEN_CREATE || o->mode == KIST_OPEN_NEW)
            return 0;
        return error_set(detail, KIST_ENOSTORE, "a store in memory exists only while it is open");
    }
    if (!path || !*path)
        return error_set(detail, KIST_EINVAL, "the path of the store is empty");
    if (o->key.kind == KIST_SECRET_NONE)
        return error_set(detail, KIST_EINVAL, "a key or a passphrase is needed");
    return 0;
}

static int store_start(struct kist_store *s, const char *path, const struct kist_options *o)
{
    struct unlock unlock = {0};
    struct engine_options engine = {0};
    int r = store_options(o, &s->detail, &unlock, &engine);
    r = r < 0 ? r : store_path(path, o, &s->detail);
    if (r < 0)
        return r;
    r = engine_open(store_is_memory(path, o) ? NULL : path, &engine, &s->detail, &s->engine);
    if (r < 0)
        return r;
    s->read_only = o->mode == KIST_OPEN_READ_ONLY || o->mode == KIST_OPEN_SALVAGE;
    if (s->read_only)
        return 0;
    r = catalog_make_default(s);
    if (r < 0 || !(o->flags & KIST_MAINTENANCE))
        return r;
    r = maintain_start(s->engine, &s->maintain);
    return r < 0 ? error_set(&s->detail, r, "the maintenance thread could not be started") : 0;
}

int store_open_failed(int code, const struct error_detail *detail, struct kist_detail *out)
{
    if (out && detail->text[0])
        memcpy(out->text, detail->text, sizeof out->text);
    else if (out)
        (void)snprintf(out->text, sizeof out->text, "%s", kist_strerror(code));
    return code;
}

int kist_open(const char *path, const struct kist_options *options, struct kist_store **out_store)
{
    struct kist_options o;
    struct error_detail early = {0};
    if (!out_store)
        return KIST_EINVAL;
    int r = options_copy(&early, &o, sizeof o, options);
    if (r < 0)
        return r; /* nothing in it can be trusted, not even where the detail goes */
    struct kist_store *s = os_calloc(sizeof *s);
    if (!s)
        return store_open_failed(KIST_ENOMEM, &early, o.detail);
    s->magic = STORE_MAGIC;
    s->here = os_fork_guard_new();
    r = s->here ? store_start(s, path, &o) : KIST_ENOMEM;
    if (r < 0) {
        (void)store_open_failed(r, &s->detail, o.detail);
        kist_close(&s);
        return r;
    }
    *out_store = s;
    return 0;
}

void kist_close(struct kist_store **store)
{
    if (!store || !*store)
        return;
    struct kist_store *s = *store;
    assert(s->magic == STORE_MAGIC);
    if (s->here && store_check(s) == 0)
        maintain_stop(&s->maintain);
    if (s->engine)
        s->engine->ops->close(&s->engine); /* in a child too: see above */
    os_fork_guard_free(&s->here);
    os_wipe(s, sizeof *s);
    os_free(s);
    os_wipe_stack(); /* keys passed through it in calls too hot, or too many, to wipe each */
    *store = NULL;
}

/* -- the store as a whole -- */

void kist_detail(const struct kist_store *store, struct kist_detail *out_detail)
{
    if (!out_detail)
        return;
    memset(out_detail, 0, sizeof *out_detail);
    if (!store)
        return;
    assert(store->magic == STORE_MAGIC);
    error_copy((struct error_detail *)(uintptr_t)&store->detail, out_detail->text);
    out_detail->text[sizeof out_detail->text - 1] = '\0';
}

int kist_sync(struct kist_store *store)
{
    int r = store_check(store);
    return r < 0 ? r : store->engine->ops->sync(store->engine);
}

int kist_revision(struct kist_store *store, uint64_t *out_revision)
{
    int r = store_check(store);
    if (r < 0)
        return r;
    return out_revision ? store->engine->ops->revision(store->engine, out_revision) : KIST_EINVAL;
}

int kist_stat(struct kist_store *store, struct kist_stat *out_stat)
{
    struct kist_stat s = {.size = sizeof s};
    int r = store_check(store);
    if (r < 0)
        return r;
    if (!out_stat)
        return KIST_EINVAL;
    r = store->engine->ops->stat(store->engine, &s);
    if (r < 0)
        return r;
    uint64_t own = 0;
    r = catalog_count(store, &s.buckets, &own);
    s.keys -= own < s.keys ? own : s.keys; /* a user counts his own records */
    return r < 0 ? r : options_answer(&store->detail, out_stat, &s, sizeof s);
}

int kist_verify(struct kist_store *store, const struct kist_verify_options *options, struct kist_verify_report *out_report)
{
    struct kist_verify_options o;
    int r = store_check(store);
    if (r < 0)
        return r;
    if (!out_report)
        return KIST_EINVAL;
    r = options_copy(&store->detail, &o, sizeof o, options);
    return r < 0 ? r : store->engine->ops->verify(store->engine, &o, out_report);
}

int kist_compact(struct kist_store *store, kist_progress_fn *progress, void *progress_ctx)
{
    int r = store_check(store);
    return r < 0 ? r : store->engine->ops->compact(store->engine, progress, progress_ctx);
}

int kist_sweep(struct kist_store *store, uint64_t limit, uint64_t *out_swept)
{
    uint64_t swept = 0;
    int r = store_check(store);
    if (r < 0)
        return r;
    r = store->engine->ops->sweep(store->engine, limit, &swept);
    if (r == 0 && out_swept)
        *out_swept = swept;
    return r;
}
