/* kist.h: an encrypted, durable key-value store for many threads and processes.
 *
 * A store is a directory. Everything in it is sealed, key names included. Any number of processes open it at the
 * same time; writes are serializable, reads see a snapshot and never wait for writers. What a call acknowledged
 * survives kill -9, an OS crash and a power cut, unless the store was opened with KIST_SYNC_NONE.
 *
 *     struct kist_options o = {.size = sizeof o, .key = {.kind = KIST_SECRET_KEY, .ptr = key, .len = 32}};
 *     struct kist_store *s = NULL;
 *     struct kist_bucket *b = NULL;
 *     if (kist_open("~/my-store", &o, &s) == 0 && kist_bucket_open(s, "default", &b) == 0)
 *         kist_put(b, KIST_STR("name"), KIST_STR("value"), NULL, NULL);
 *     kist_bucket_close(&b);
 *     kist_close(&s);
 *
 * Conventions. Fallible calls return 0 or a negative KIST_E…; the sentence for it is kist_strerror(), the
 * circumstances kist_detail(). Outputs are named out_… and stay untouched on failure; an out_ pointer that says
 * "may be NULL" may be left out. Options structs begin with their own size; a NULL pointer or a zeroed struct with
 * size set means the defaults. Times are milliseconds (_ms), absolute ones since 1970 UTC; sizes are bytes.
 * Keys: 1 to 4,096 bytes, any bytes, ordered as unsigned bytes. Values: 0 bytes to 64 MiB.
 *
 * Threads. A store, a bucket and everything documented as "Thread: any" may be used by many threads at once. A
 * transaction, a cursor and a watch belong to one thread at a time. Close them before their store.
 *
 * fork(). A handle does not cross it: in the child every call but the closing ones answers KIST_EFORK; the parent
 * goes on unharmed. Keys are wiped in the child; the index, with all key names, stays in its memory until it execs or
 * exits. A child that was made inside a callback must not return from it.
 *
 * Unless its comment says otherwise, every function may also fail with KIST_EINVAL (an argument outside its
 * documented range), KIST_ENOMEM, KIST_EIO, KIST_EFDS (out of descriptors), KIST_ECORRUPT (bytes on disk that do not
 * authenticate) and KIST_EFORK; and every function that writes with KIST_EREADONLY, KIST_ENOSPC (nothing was written),
 * KIST_EBUSY (the writer lock was not to be had within lock_timeout_ms), KIST_ETOOBIG, KIST_EMAYBE (the write may or
 * may not be there: the disk failed while it was made durable) and KIST_EFAILED (an earlier write failed so). */
#ifndef KIST_H
#define KIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KIST_API __attribute__((visibility("default")))
#define KIST_CHECK __attribute__((warn_unused_result))
#else
#define KIST_API
#define KIST_CHECK
#endif

#define KIST_VERSION_MAJOR 0
#define KIST_VERSION_MINOR 1
#define KIST_VERSION_PATCH 0

#define KIST_KEY_MAX 4096u                   /* bytes */
#define KIST_VALUE_MAX (64u * 1024u * 1024u) /* bytes */
#define KIST_TXN_MAX (256u * 1024u * 1024u)  /* bytes of keys and values in one commit */
#define KIST_TXN_OPS_MAX 1000000u            /* writes in one commit */
#define KIST_BUCKET_ID_LEN 22u               /* characters, without the NUL */
#define KIST_BUCKET_NAME_MAX 255u            /* bytes of UTF-8 */
#define KIST_SECRET_LEN 32u                  /* bytes of a raw key */
#define KIST_PASSPHRASE_MAX 4096u            /* bytes */

/* ---------------------------------------------------------------- errors */

enum {
    KIST_OK = 0,
    KIST_ENOKEY = -1,     /* no such key */
    KIST_ENOBUCKET = -2,  /* no such bucket */
    KIST_EEXIST = -3,     /* it exists already */
    KIST_ECONFLICT = -4,  /* changed by somebody else meanwhile */
    KIST_EEND = -5,       /* no more records */
    KIST_EEMPTY = -6,     /* nothing to take */
    KIST_EFULL = -7,      /* the queue is full */
    KIST_ETIMEOUT = -8,   /* nothing happened in time */
    KIST_EINVAL = -20,    /* invalid argument */
    KIST_ETYPE = -21,     /* the value has another type */
    KIST_ERANGE = -22,    /* the number would leave its range */
    KIST_ETOOBIG = -23,   /* larger than the limit */
    KIST_EJSON = -24,     /* not valid JSON */
    KIST_ENOTSUP = -25,   /* not supported here */
    KIST_EFORK = -26,     /* opened before fork() */
    KIST_EDENIED = -40,   /* permission denied */
    KIST_EKEY = -41,      /* wrong key or passphrase */
    KIST_EREADONLY = -42, /* opened read-only */
    KIST_ENOSTORE = -60,  /* no store there */
    KIST_EIO = -61,       /* input/output error */
    KIST_ENOSPC = -62,    /* no room on the disk */
    KIST_ENOMEM = -63,    /* out of memory */
    KIST_EBUSY = -64,     /* somebody else holds the lock */
    KIST_EMAYBE = -65,    /* the outcome of the commit is unknown */
    KIST_EFAILED = -66,   /* read-only after a failed write or fsync */
    KIST_EFDS = -67,      /* out of file descriptors */
    KIST_ECORRUPT = -80,  /* damaged or tampered with */
    KIST_ENEWER = -81,    /* written by a newer version */
    KIST_ENOTKIST = -82,  /* not a kist file */
    KIST_EROLLBACK = -83  /* older than the revision asked for */
};

/* A sentence for an error code, without a full stop. Owns: static text. Thread: any. */
KIST_API const char *kist_strerror(int code);
/* Its name, "KIST_ENOKEY". Owns: static text. Thread: any. */
KIST_API const char *kist_error_name(int code);
/* The exit code of the program `kist` and the HTTP status for it. Thread: any. */
KIST_API int kist_error_exit(int code);
KIST_API int kist_error_http(int code);

/* Circumstances of a failure: which limit, which file, at which offset. Never a key, a value or a secret. */
struct kist_detail {
    char text[256];
};

/* "0.1.0" of the library that runs. Thread: any. */
KIST_API const char *kist_version(void);

/* ---------------------------------------------------------------- bytes and values */

/* Borrowed bytes: valid as long as their comment says, never freed by who receives them. */
struct kist_bytes {
    const void *ptr;
    size_t len;
};

/* A C string as bytes, without its NUL. */
#ifdef __cplusplus
#define KIST_STR(s) (kist_bytes{(s), sizeof(s) - 1})
#else
#define KIST_STR(s) ((struct kist_bytes){(s), sizeof(s) - 1})
#endif

/* What a value is said to be. It never changes the bytes: what was put comes back to the byte. */
enum kist_type {
    KIST_RAW = 0,
    KIST_INT = 1,   /* decimal text of an int64: -?digits, no leading zeros or plus */
    KIST_FLOAT = 2, /* decimal text of a finite float64 in JSON's grammar */
    KIST_JSON = 3,  /* valid JSON, RFC 8259 */
    KIST_DETECT = 4 /* only as an argument: int, float, JSON, else raw, in this order */
};

/* A value that is yours: kist_value_free() it. */
struct kist_value {
    void *data; /* never NULL on success, also when len is 0 */
    size_t len;
    enum kist_type type;
    uint64_t revision;  /* of the commit that wrote it; 0 for a transaction's own uncommitted write */
    int64_t expires_ms; /* absolute; 0: never */
};

/* Wipe and free what v holds, and empty it. NULL and an empty value are fine. Thread: any. */
KIST_API void kist_value_free(struct kist_value *v);

/* The type that KIST_DETECT would give these bytes (raw, int, float or json). Thread: any. */
KIST_API enum kist_type kist_detect(struct kist_bytes value);

/* ---------------------------------------------------------------- keys to the store */

enum kist_secret_kind { KIST_SECRET_NONE = 0, KIST_SECRET_KEY = 1, KIST_SECRET_PASSPHRASE = 2 };

/* What unlocks a store: a raw key of 32 bytes, or a passphrase of 1 to 4,096 bytes (Argon2id, RFC 9106). What kdf_ops and
 * kdf_mem_kib mean for a passphrase depends on what it is for:
 *   to be set        its costs from then on; by default 3 passes over 65,536 KiB (64 MiB). All passphrases of a store
 *                    together cost at most what one does at the upper limits: 16 GiB, passes times memory.
 *   to open a parcel or a backup
 *                    the most that may be spent on it, since whoever wrote the stream chose its costs; by default 6 passes
 *                    and 262,144 KiB (256 MiB). A stream that asks for more is KIST_ETOOBIG before anything is spent; who
 *                    trusts it gives its costs here. Of a backup this holds for each of its slots.
 *   to open a store  nothing: the store says what it costs. So for old_secret in kist_slot_change(). */
struct kist_secret {
    enum kist_secret_kind kind;
    const void *ptr; /* borrowed for the call only; wipe it yourself */
    size_t len;
    uint32_t kdf_ops;     /* passes, 1 to 16; 0: the default */
    uint32_t kdf_mem_kib; /* memory, 8,192 to 1,048,576; 0: the default */
};

/* A fresh random key. Owns: out_key is yours, wipe it. Thread: any. */
KIST_API int kist_key_generate(uint8_t out_key[32]) KIST_CHECK;
/* Read a key from text: 32 raw bytes, 64 hex digits, or base64 (either alphabet, with or without padding; white space
 * around it is ignored). Fails: KIST_EINVAL anything else; the all-zero key. Thread: any. */
KIST_API int kist_key_parse(struct kist_bytes text, uint8_t out_key[32], struct kist_detail *out_detail) KIST_CHECK;
/* The key as base64 with padding: 44 characters and a NUL. Thread: any. */
KIST_API void kist_key_format(const uint8_t key[32], char out_text[45]);

/* ---------------------------------------------------------------- stores */

struct kist_store;
struct kist_bucket;
struct kist_txn;
struct kist_cursor;
struct kist_watch;

enum kist_open_mode {
    KIST_OPEN_CREATE = 0,    /* open it, or make it when there is none */
    KIST_OPEN_EXISTING = 1,  /* KIST_ENOSTORE when there is none */
    KIST_OPEN_NEW = 2,       /* KIST_EEXIST when there is one */
    KIST_OPEN_READ_ONLY = 3, /* an existing one; nothing under it is written */
    KIST_OPEN_SALVAGE = 4    /* read-only, and what is still good of a damaged one */
};

enum kist_engine { KIST_ENGINE_LOG = 0, KIST_ENGINE_MEMORY = 1 };

enum kist_sync {
    KIST_SYNC_FULL = 0, /* a write is acknowledged when it is durable */
    KIST_SYNC_NONE = 1  /* when it is written: survives the process, not the machine; kist_sync() makes it durable */
};

enum {
    KIST_MAINTENANCE = 1, /* start one thread that compacts, sweeps expired records and writes snapshots */
    KIST_NO_MAP = 2       /* read values with pread() instead of through a memory map: slower, and no SIGBUS handler is
                             installed for the process (docs/decisions/0002-map.md) */
};

struct kist_options {
    size_t size; /* sizeof(struct kist_options) */
    enum kist_open_mode mode;
    enum kist_engine engine; /* the path ":memory:" means KIST_ENGINE_MEMORY too */
    enum kist_sync sync;
    unsigned flags;             /* KIST_MAINTENANCE, KIST_NO_MAP */
    int64_t lock_timeout_ms;    /* how long to wait for other processes; 0: 10,000; negative: for ever */
    int suite;                  /* for a new store: 1 XChaCha20-Poly1305 (0 means 1), 2 AES-256-GCM where the CPU has it */
    struct kist_secret key;     /* none is allowed for KIST_ENGINE_MEMORY only */
    struct kist_detail *detail; /* where kist_open() says what went wrong; may be NULL */
};

/* Open a store, or make one. A leading "~/" is the home directory; missing parents are made (0700, files 0600).
 * Owns:    *out_store is yours; kist_close() it.
 * Fails:   KIST_EKEY wrong key · KIST_ENOSTORE · KIST_EEXIST (also where a store would be made beside an unfinished restore
 *          or beside segments that have lost their header) · KIST_ENEWER a newer format · KIST_ENOTKIST another kind of
 *          file · KIST_ECORRUPT (the detail says where; KIST_OPEN_SALVAGE reads the rest) · KIST_EDENIED · KIST_EBUSY ·
 *          KIST_ENOTSUP suite 2 without AES-NI.
 * Durable: a store that was made is on disk on return.
 * Thread:  any. */
KIST_API int kist_open(const char *path, const struct kist_options *options, struct kist_store **out_store) KIST_CHECK;

/* Close it and set *store to NULL; NULL is fine. Buckets, transactions, cursors and watches of it must be closed before.
 * Everything acknowledged is kept. Thread: one, with no other call under way. */
KIST_API void kist_close(struct kist_store **store);

/* Copy the circumstances of the last failure on this store (any thread's). Thread: any. */
KIST_API void kist_detail(const struct kist_store *store, struct kist_detail *out_detail);

/* Make everything written so far durable (only of use with KIST_SYNC_NONE).
 * Fails: KIST_EMAYBE, KIST_EFAILED. Thread: any. */
KIST_API int kist_sync(struct kist_store *store) KIST_CHECK;

/* The revision of the newest durable commit. Fails: KIST_EIO, KIST_ECORRUPT while catching up. Thread: any. */
KIST_API int kist_revision(struct kist_store *store, uint64_t *out_revision) KIST_CHECK;

/* ---------------------------------------------------------------- buckets */

struct kist_bucket_options {
    size_t size;
    int64_t default_ttl_ms; /* records without a TTL of their own get this one, anew at each update; 0: none */
};

/* Make a bucket. name: UTF-8 without control characters, at most KIST_BUCKET_NAME_MAX bytes, not of the form of an id;
 * NULL: no name, only its id.
 * Owns:    *out_bucket is yours; kist_bucket_close() it.
 * Fails:   KIST_EEXIST the name is taken.
 * Durable: on return. Thread: any. */
KIST_API int kist_bucket_create(struct kist_store *store, const char *name, const struct kist_bucket_options *options,
                                struct kist_bucket **out_bucket) KIST_CHECK;
/* Open a bucket by its name or its id. "default" is always there.
 * Owns: *out_bucket is yours; kist_bucket_close() it. Fails: KIST_ENOBUCKET. Thread: any. */
KIST_API int kist_bucket_open(struct kist_store *store, const char *name_or_id, struct kist_bucket **out_bucket) KIST_CHECK;
KIST_API void kist_bucket_close(struct kist_bucket **bucket);

struct kist_bucket_info {
    char id[KIST_BUCKET_ID_LEN + 1];
    char name[KIST_BUCKET_NAME_MAX + 1]; /* "" without a name */
    int64_t default_ttl_ms;
    int64_t created_ms;
};

/* What a bucket is called now. Fails: KIST_ENOBUCKET deleted meanwhile. Thread: any. */
KIST_API int kist_bucket_describe(struct kist_bucket *bucket, struct kist_bucket_info *out_info) KIST_CHECK;
/* Call each() for every bucket, in the order of their making; a non-zero answer ends it and is returned. info is borrowed
 * for the call. Thread: any; each() may use the store. */
KIST_API int kist_bucket_list(struct kist_store *store, int (*each)(const struct kist_bucket_info *info, void *ctx),
                              void *ctx) KIST_CHECK;
/* Fails: KIST_EEXIST, KIST_ENOBUCKET, KIST_EDENIED the bucket "default". Durable: on return. Thread: any. */
KIST_API int kist_bucket_rename(struct kist_bucket *bucket, const char *new_name) KIST_CHECK;
KIST_API int kist_bucket_set_ttl(struct kist_bucket *bucket, int64_t default_ttl_ms) KIST_CHECK;
/* Delete the bucket with all that is in it, in constant time; compaction gives the space back. Open handles to it answer
 * KIST_ENOBUCKET from then on. Fails: KIST_EDENIED the bucket "default". Durable: on return. Thread: any. */
KIST_API int kist_bucket_delete(struct kist_bucket *bucket) KIST_CHECK;

/* ---------------------------------------------------------------- records: reading */

/* Fails: KIST_ENOKEY missing or expired · KIST_ENOBUCKET. Owns: *out_value is yours; kist_value_free() it. Thread: any. */
KIST_API int kist_get(struct kist_bucket *bucket, struct kist_bytes key, struct kist_value *out_value) KIST_CHECK;
/* Is it there? Thread: any. */
KIST_API int kist_exists(struct kist_bucket *bucket, struct kist_bytes key, bool *out_exists) KIST_CHECK;
/* Type, length (in out_info->len), revision and expiry without the bytes (data is NULL). Fails: KIST_ENOKEY. Thread: any. */
KIST_API int kist_describe(struct kist_bucket *bucket, struct kist_bytes key, struct kist_value *out_info) KIST_CHECK;
/* Get n keys out of one snapshot. out_codes[i] is 0 or KIST_ENOKEY; out_values[i] is filled where it is 0, else emptied.
 * Owns: the values are yours, each. Fails: as a whole, with no value yours. Thread: any. */
KIST_API int kist_get_many(struct kist_bucket *bucket, const struct kist_bytes *keys, size_t n, struct kist_value *out_values,
                           int *out_codes) KIST_CHECK;
/* How many live records have this prefix (empty: all). Thread: any. */
KIST_API int kist_count(struct kist_bucket *bucket, struct kist_bytes prefix, uint64_t *out_count) KIST_CHECK;

/* ---------------------------------------------------------------- records: writing */

#define KIST_TTL_KEEP INT64_C(0)             /* an existing TTL stays; a new record gets the bucket's default */
#define KIST_TTL_NEVER INT64_C(-1)           /* no expiry, not even the bucket's default */
#define KIST_TTL_MAX INT64_C(31536000000000) /* 1,000 years */

enum {
    KIST_IF_ABSENT = 1,  /* only when there is no such key: else KIST_EEXIST */
    KIST_IF_PRESENT = 2, /* only when there is one: else KIST_ENOKEY */
    KIST_IF_REVISION = 4 /* only when its revision is if_revision (0: must not exist): else KIST_ECONFLICT */
};

struct kist_put_options {
    size_t size;
    enum kist_type type; /* raw unless said; int, float and JSON are checked (KIST_ETYPE, KIST_EJSON) */
    unsigned flags;      /* KIST_IF_… */
    uint64_t if_revision;
    int64_t ttl_ms; /* from now, 1 to KIST_TTL_MAX; KIST_TTL_KEEP; KIST_TTL_NEVER */
};

/* In all of these: options may be NULL; out_revision may be NULL and gets the revision of the commit.
 * Durable: on return. Thread: any. They run under the writer lock and never conflict with others. */

/* Fails: KIST_EEXIST, KIST_ENOKEY, KIST_ECONFLICT as the flags say. */
KIST_API int kist_put(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes value,
                      const struct kist_put_options *options, uint64_t *out_revision) KIST_CHECK;
/* Deleting what is not there succeeds. *out_existed may be NULL. Of the options, flags and if_revision count; the others
 * may hold anything. */
KIST_API int kist_delete(struct kist_bucket *bucket, struct kist_bytes key, const struct kist_put_options *options,
                         bool *out_existed, uint64_t *out_revision) KIST_CHECK;
/* Compare and set by value: put value only if the present bytes are expected. Fails: KIST_ENOKEY, KIST_ECONFLICT. */
KIST_API int kist_compare_and_set(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes expected,
                                  struct kist_bytes value, const struct kist_put_options *options,
                                  uint64_t *out_revision) KIST_CHECK;
/* Take the record away and return it: two callers never get the same one. Owns: *out_value is yours. Fails: KIST_ENOKEY. */
KIST_API int kist_get_and_delete(struct kist_bucket *bucket, struct kist_bytes key, struct kist_value *out_value) KIST_CHECK;
/* Get it, or put value when it is not there. Owns: *out_value is yours. *out_inserted may be NULL. */
KIST_API int kist_get_or_insert(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes value,
                                const struct kist_put_options *options, struct kist_value *out_value,
                                bool *out_inserted) KIST_CHECK;

enum { KIST_UPDATE_STORE = 0, KIST_UPDATE_KEEP = 1, KIST_UPDATE_DELETE = 2 };
/* old is NULL when there is no such record. Answer KIST_UPDATE_STORE after setting *new_value (borrowed until kist_update
 * returns), KIST_UPDATE_KEEP, KIST_UPDATE_DELETE, or a negative KIST_E… that ends it. Called once, under the writer lock:
 * it must be short and must not use the store. */
typedef int kist_update_fn(const struct kist_value *old, struct kist_bytes *new_value, void *ctx);
KIST_API int kist_update(struct kist_bucket *bucket, struct kist_bytes key, kist_update_fn *fn, void *ctx,
                         const struct kist_put_options *options, uint64_t *out_revision) KIST_CHECK;

/* Add by to an int64; a missing key counts as 0; the value becomes its decimal text, type int. *out_value may be NULL.
 * Fails: KIST_ETYPE not an int · KIST_ERANGE would overflow: unchanged. */
KIST_API int kist_increment(struct kist_bucket *bucket, struct kist_bytes key, int64_t by, const struct kist_put_options *options,
                            int64_t *out_value, uint64_t *out_revision) KIST_CHECK;
/* The same for float64 (an int becomes a float). Fails: KIST_ETYPE · KIST_ERANGE not finite · KIST_EINVAL by is NaN. */
KIST_API int kist_increment_float(struct kist_bucket *bucket, struct kist_bytes key, double by,
                                  const struct kist_put_options *options, double *out_value, uint64_t *out_revision) KIST_CHECK;
/* Put bytes behind the value (missing: empty); the type becomes raw unless the options say another one. *out_len may be
 * NULL and gets the new length. */
KIST_API int kist_append(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes bytes,
                         const struct kist_put_options *options, size_t *out_len, uint64_t *out_revision) KIST_CHECK;
/* JSON merge patch (RFC 7386); a missing key counts as {}; the type becomes JSON. Fails: KIST_EJSON the patch ·
 * KIST_ETYPE the value is not JSON. */
KIST_API int kist_merge(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes patch,
                        const struct kist_put_options *options, uint64_t *out_revision) KIST_CHECK;
/* Set the expiry to ttl_ms from now (KIST_TTL_NEVER: take it away), leaving the value. Fails: KIST_ENOKEY. */
KIST_API int kist_expire(struct kist_bucket *bucket, struct kist_bytes key, int64_t ttl_ms, uint64_t *out_revision) KIST_CHECK;
/* What is left in ms, or KIST_TTL_NEVER. Fails: KIST_ENOKEY. */
KIST_API int kist_ttl(struct kist_bucket *bucket, struct kist_bytes key, int64_t *out_ttl_ms) KIST_CHECK;

/* ---------------------------------------------------------------- transactions */

enum kist_txn_mode {
    KIST_OPTIMISTIC = 0, /* a snapshot; commit fails with KIST_ECONFLICT when something that was read has changed */
    KIST_EXCLUSIVE = 1,  /* holds the writer lock from the start: never conflicts, keeps other writers waiting */
    KIST_SNAPSHOT = 2    /* read-only */
};

/* A transaction on one bucket. It sees its snapshot and its own writes.
 * Owns: *out_txn is yours until kist_commit() or kist_abort() ends it. Thread: any; the transaction: one at a time. */
KIST_API int kist_begin(struct kist_bucket *bucket, enum kist_txn_mode mode, struct kist_txn **out_txn) KIST_CHECK;
/* End it and make its writes durable as one commit. *txn is NULL afterwards, whatever the answer.
 * Fails: KIST_ECONFLICT (nothing was written: run it again) · KIST_ETOOBIG. out_revision may be NULL; without writes it is
 * the snapshot's. Durable: on return. */
KIST_API int kist_commit(struct kist_txn **txn, uint64_t *out_revision) KIST_CHECK;
/* End it without a trace. *txn is NULL afterwards; NULL is fine. */
KIST_API void kist_abort(struct kist_txn **txn);

/* Begin, call fn, commit; after a conflict again from the start (with growing random pauses, the last tries exclusive), so
 * fn must be repeatable. A negative answer of fn rolls back and is returned. */
KIST_API int kist_run(struct kist_bucket *bucket, enum kist_txn_mode mode, int (*fn)(struct kist_txn *txn, void *ctx), void *ctx,
                      uint64_t *out_revision) KIST_CHECK;

/* Inside a transaction; each as its namesake above. A failing one leaves the transaction as it was, to go on or abort.
 * The checks of if_revision look at the snapshot and are repeated at the commit. */
KIST_API int kist_txn_get(struct kist_txn *txn, struct kist_bytes key, struct kist_value *out_value) KIST_CHECK;
KIST_API int kist_txn_exists(struct kist_txn *txn, struct kist_bytes key, bool *out_exists) KIST_CHECK;
KIST_API int kist_txn_put(struct kist_txn *txn, struct kist_bytes key, struct kist_bytes value,
                          const struct kist_put_options *options) KIST_CHECK;
KIST_API int kist_txn_delete(struct kist_txn *txn, struct kist_bytes key, const struct kist_put_options *options,
                             bool *out_existed) KIST_CHECK;
KIST_API int kist_txn_increment(struct kist_txn *txn, struct kist_bytes key, int64_t by, const struct kist_put_options *options,
                                int64_t *out_value) KIST_CHECK;
KIST_API int kist_txn_increment_float(struct kist_txn *txn, struct kist_bytes key, double by,
                                      const struct kist_put_options *options, double *out_value) KIST_CHECK;
KIST_API int kist_txn_append(struct kist_txn *txn, struct kist_bytes key, struct kist_bytes bytes,
                             const struct kist_put_options *options, size_t *out_len) KIST_CHECK;
KIST_API int kist_txn_merge(struct kist_txn *txn, struct kist_bytes key, struct kist_bytes patch,
                            const struct kist_put_options *options) KIST_CHECK;
KIST_API int kist_txn_expire(struct kist_txn *txn, struct kist_bytes key, int64_t ttl_ms) KIST_CHECK;
/* The revision of the snapshot. */
KIST_API uint64_t kist_txn_revision(const struct kist_txn *txn);

/* ---------------------------------------------------------------- cursors */

struct kist_range {
    size_t size;
    struct kist_bytes prefix; /* copied; empty: all */
    struct kist_bytes from;   /* first key that counts, inclusive; empty: from the start */
    struct kist_bytes to;     /* exclusive; empty: to the end */
    bool reverse;             /* kist_cursor_next() goes down */
    bool keys_only;           /* value.ptr is NULL; type, length, revision, expiry are set; values are not unsealed */
};

struct kist_record {
    struct kist_bytes key; /* borrowed until the cursor moves or closes */
    struct kist_bytes value;
    enum kist_type type;
    uint64_t revision;
    int64_t expires_ms; /* absolute; 0: no expiry */
    bool never;         /* no expiry because that was asked for (KIST_TTL_NEVER): a bucket's default does not touch it */
};

/* Walk the live records of a snapshot in key order. range may be NULL: everything.
 * Owns: *out_cursor is yours; kist_cursor_close() it. It pins its snapshot: old versions that it can see stay in memory and
 * on disk until it is closed. Thread: one at a time. */
KIST_API int kist_cursor_open(struct kist_bucket *bucket, const struct kist_range *range,
                              struct kist_cursor **out_cursor) KIST_CHECK;
/* The same inside a transaction, own writes included; closed before the transaction ends. */
KIST_API int kist_txn_cursor_open(struct kist_txn *txn, const struct kist_range *range,
                                  struct kist_cursor **out_cursor) KIST_CHECK;
/* The next (or the previous) record of the range; before the first call both give the first one in their direction.
 * Fails: KIST_EEND past the end (the cursor stays there; the other direction goes back in). */
KIST_API int kist_cursor_next(struct kist_cursor *cursor, struct kist_record *out_record) KIST_CHECK;
KIST_API int kist_cursor_prev(struct kist_cursor *cursor, struct kist_record *out_record) KIST_CHECK;
/* Stand so that kist_cursor_next() gives the first record at or after key (at or before, in reverse). The key may lie in
 * the record that the cursor gave last. */
KIST_API int kist_cursor_seek(struct kist_cursor *cursor, struct kist_bytes key) KIST_CHECK;
KIST_API void kist_cursor_close(struct kist_cursor **cursor);

/* ---------------------------------------------------------------- watch */

enum kist_change_kind {
    KIST_CHANGE_PUT = 1,
    KIST_CHANGE_DELETE = 2, /* deleted or expired and swept */
    KIST_CHANGE_RESYNC = 3  /* too long ago to say which keys: read everything under the prefix again; key is empty */
};

struct kist_change {
    enum kist_change_kind kind;
    struct kist_bytes key; /* borrowed until the next call on the watch */
    uint64_t revision;
};

/* Watch the keys of a bucket under a prefix for commits after revision since (0: from now on), of any process.
 * Owns: *out_watch is yours; kist_watch_close() it. Thread: one at a time. */
KIST_API int kist_watch_open(struct kist_bucket *bucket, struct kist_bytes prefix, uint64_t since,
                             struct kist_watch **out_watch) KIST_CHECK;
/* The next change, in commit order. Sleeps until there is one, at most timeout_ms (negative: for ever). Only durable
 * commits are told. Fails: KIST_ETIMEOUT · KIST_ENOBUCKET. */
KIST_API int kist_watch_next(struct kist_watch *watch, int64_t timeout_ms, struct kist_change *out_change) KIST_CHECK;
/* From another thread: make a sleeping kist_watch_next() return KIST_ETIMEOUT now. */
KIST_API void kist_watch_cancel(struct kist_watch *watch);
KIST_API void kist_watch_close(struct kist_watch **watch);

/* ---------------------------------------------------------------- streams: backup, export, parcels */

/* Take len bytes / give at most len bytes (*out_n = 0: the end). A negative KIST_E… ends the whole and is returned; what
 * else is not 0, and an *out_n above len, does as KIST_EIO. */
typedef int kist_write_fn(const void *data, size_t len, void *ctx);
typedef int kist_read_fn(void *data, size_t len, size_t *out_n, void *ctx);

/* Progress of long work, about 10 times a second; total 0: not known. A non-zero answer cancels: the work stops in a
 * consistent state and that answer is returned. */
typedef int kist_progress_fn(const char *what, uint64_t done, uint64_t total, void *ctx);

/* Write a consistent, sealed copy of the store while others go on: whole (since 0), or what changed after revision since.
 * The stream opens with any secret that opens the store now. out_revision may be NULL: the revision it holds, to pass as
 * since next time. Fails: KIST_EROLLBACK the store is not that far, or was restored since then, so that nothing could be
 * brought forward by it: make a whole one · KIST_ENOTSUP an engine without files, or since of a salvaged store. Thread: any. */
KIST_API int kist_backup(struct kist_store *store, uint64_t since, kist_write_fn *write, void *write_ctx,
                         uint64_t *out_revision) KIST_CHECK;
/* Make a store at path (where none may be, nor anything else but what an unfinished restore left) from a whole backup, or
 * bring the one at path forward by a backup since a revision that it has. The stream is verified to its end before anything
 * at path is made or changed.
 * A restored store that nobody has written to is a standby: it takes the later backups of the store that it comes from, in
 * turn, overlapping, or one twice, and may be opened, read and compacted in between. It is not swept (kist_sweep() finds
 * nothing; reads hide what has expired anyway). The first write of its own ends that.
 * options: key as for kist_open(), mode and engine are ignored. Fails: KIST_EKEY · KIST_ECORRUPT · KIST_EEXIST ·
 * KIST_EROLLBACK the store at path was written to, is not from the store of the backup, has not got as far as the backup
 * starts from, or farther than it ends: the detail says which · KIST_EBUSY the store at path is open · KIST_ETOOBIG its
 * passphrases cost more than the secret allows (see struct kist_secret). Durable: on return. */
KIST_API int kist_restore(const char *path, const struct kist_options *options, kist_read_fn *read, void *read_ctx) KIST_CHECK;

/* Call each(record) for the live records of a snapshot, in key order; a non-zero answer ends it and is returned. */
KIST_API int kist_export(struct kist_bucket *bucket, const struct kist_range *range,
                         int (*each)(const struct kist_record *record, void *ctx), void *ctx) KIST_CHECK;
/* Put records until next() answers KIST_EEND; in commits of at most 1,000 records or 4 MiB. A record with an expiry keeps
 * it, one that says never has none, any other gets the bucket's default. out_count may be NULL: how many are durable, also
 * on failure. */
KIST_API int kist_import(struct kist_bucket *bucket, int (*next)(struct kist_record *out_record, void *ctx), void *ctx,
                         uint64_t *out_count) KIST_CHECK;

struct kist_parcel_options {
    size_t size;
    struct kist_secret key; /* what opens the parcel */
    int compress;           /* zstd level 1 to 19; 0: none. The length of the parcel then tells how well it compressed */
};

/* Seal one value into a stream that opens with the secret alone, without a store. Thread: any. */
KIST_API int kist_parcel_write(const struct kist_value *value, const struct kist_parcel_options *options, kist_write_fn *write,
                               void *write_ctx) KIST_CHECK;
/* Owns: *out_value is yours. Fails: KIST_EKEY · KIST_ECORRUPT · KIST_ENOTKIST not a parcel · KIST_ETOOBIG its passphrase
 * costs more than the key of the options allows, by default 6 passes and 256 MiB (see struct kist_secret). */
KIST_API int kist_parcel_read(const struct kist_parcel_options *options, kist_read_fn *read, void *read_ctx,
                              struct kist_value *out_value) KIST_CHECK;
/* Stash one value: into the bucket under key (bucket may be NULL), into a parcel (write may be NULL), or both, the parcel
 * first. Fails: KIST_EINVAL neither. What the bucket refuses by its arguments, or because it is read-only, is refused before
 * a byte of the parcel is written. Durable: in the bucket, on return. */
KIST_API int kist_stash(struct kist_bucket *bucket, struct kist_bytes key, struct kist_bytes value, enum kist_type type,
                        const struct kist_parcel_options *options, kist_write_fn *write, void *write_ctx) KIST_CHECK;
/* Get it back: from the parcel when read is given and has bytes, else from the bucket when one is given, else fallback when
 * its ptr is not NULL. Owns: *out_value is yours. Fails: KIST_ENOKEY nowhere · as kist_parcel_read(). */
KIST_API int kist_unstash(struct kist_bucket *bucket, struct kist_bytes key, const struct kist_parcel_options *options,
                          kist_read_fn *read, void *read_ctx, struct kist_bytes fallback,
                          struct kist_value *out_value) KIST_CHECK;

/* ---------------------------------------------------------------- care */

struct kist_stat {
    size_t size; /* set by the caller: sizeof(struct kist_stat) */
    enum kist_engine engine;
    enum kist_sync sync;
    int suite;
    bool read_only;
    bool failed;       /* read-only after a failed write or fsync */
    uint64_t revision; /* newest durable commit */
    uint64_t keys;     /* records in the index, expired ones that are not swept yet included */
    uint64_t buckets;
    uint64_t disk_bytes; /* of all files of the store */
    uint64_t live_bytes; /* of the segments: what compaction would keep */
    uint64_t dead_bytes; /* of the segments: what compaction would give back */
    uint64_t segments;
    uint64_t index_bytes;                 /* memory of the index of this handle */
    uint32_t key_generation;              /* of the data key that seals new commits */
    uint32_t key_generations;             /* how many are still needed */
    uint64_t commits;                     /* by this handle */
    uint64_t syncs;                       /* fdatasync calls by this handle */
    uint64_t key_max, value_max, txn_max; /* limits of the engine, bytes */
    bool snapshot;                        /* this handle was opened from an index snapshot */
};
/* Thread: any. */
KIST_API int kist_stat(struct kist_store *store, struct kist_stat *out_stat) KIST_CHECK;

struct kist_verify_options {
    size_t size;
    uint64_t at_least; /* KIST_EROLLBACK when the store's revision is smaller; 0: any */
    kist_progress_fn *progress;
    void *progress_ctx;
    /* Told of each thing that is wrong: a sentence that names the file and the offset, never a key. May be NULL. */
    void (*problem)(const char *sentence, void *ctx);
    void *problem_ctx;
};
struct kist_verify_report {
    uint64_t segments, frames, values, bytes, problems;
    uint64_t revision;
    uint64_t old_key_frames; /* frames still sealed under an older data key */
};
/* Read and authenticate every frame, value and chain, and compare the log with the index.
 * Fails: KIST_ECORRUPT something is wrong (out_report counts it; it is set then too) · KIST_EROLLBACK. Thread: any. */
KIST_API int kist_verify(struct kist_store *store, const struct kist_verify_options *options,
                         struct kist_verify_report *out_report) KIST_CHECK;
/* Copy live records together and give back the space of dead ones, as far as it goes. progress may be NULL.
 * Fails: KIST_EBUSY another process is compacting. Thread: any; others go on reading and writing. */
KIST_API int kist_compact(struct kist_store *store, kist_progress_fn *progress, void *progress_ctx) KIST_CHECK;
/* Sweep expired records (at most limit of them; 0: all) as one commit a thousand. *out_swept may be NULL. A standby is not
 * swept, see kist_restore(). Thread: any. */
KIST_API int kist_sweep(struct kist_store *store, uint64_t limit, uint64_t *out_swept) KIST_CHECK;

#define KIST_SLOTS_MAX 8
#define KIST_SLOT_LABEL_MAX 31
struct kist_slot_info {
    int slot; /* 0 to KIST_SLOTS_MAX - 1 */
    enum kist_secret_kind kind;
    char label[KIST_SLOT_LABEL_MAX + 1];
};
/* Key slots: each opens the store by itself. Durable: on return. Thread: any.
 * Fails: KIST_EFULL no free slot · KIST_EDENIED the last slot cannot go · KIST_EINVAL no such slot · KIST_ETOOBIG the label,
 * or what all passphrases cost together (see struct kist_secret) · KIST_EROLLBACK somebody put an older header back. */
KIST_API int kist_slot_list(struct kist_store *store, struct kist_slot_info out_slots[KIST_SLOTS_MAX], size_t *out_n) KIST_CHECK;
KIST_API int kist_slot_add(struct kist_store *store, const struct kist_secret *secret, const char *label,
                           int *out_slot) KIST_CHECK;
KIST_API int kist_slot_remove(struct kist_store *store, int slot) KIST_CHECK;
/* Replace the secret of the first slot that old_secret opens, and empty the other slots that it opens: it opens the store
 * no more. Instant: nothing else is rewritten. Fails: KIST_EKEY it opens none. */
KIST_API int kist_slot_change(struct kist_store *store, const struct kist_secret *old_secret,
                              const struct kist_secret *new_secret) KIST_CHECK;
/* Seal from now on under a fresh data key and rewrite everything older under it. Resumable: after an interruption call it
 * with resume to finish without another key. Fails: as kist_compact(). */
KIST_API int kist_rotate(struct kist_store *store, bool resume, kist_progress_fn *progress, void *progress_ctx) KIST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
