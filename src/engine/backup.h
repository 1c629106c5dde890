/* A backup stream: how it is framed, and reading one. docs/format.md, "Backup stream", has every byte. */
#ifndef KIST_ENGINE_BACKUP_H
#define KIST_ENGINE_BACKUP_H

#include "crypt/keyring.h"
#include "crypt/stream.h"
#include "engine/engine.h"
#include "engine/lineage.h"

#define BACKUP_FORMAT 1
#define BACKUP_MAGIC "KISTBACK"        /* in clear, before the header of the store */
#define BACKUP_STREAM_MAGIC "KISTBKUP" /* of the sealed stream behind it */
#define BACKUP_PREAMBLE 16u
#define BACKUP_CONTEXT 32u
#define BACKUP_RECORD_MAX (KIST_KEY_MAX + 64u) /* bytes of a record without its value */

enum backup_kind {
    BACKUP_END = 0,  /* counts and the revision once more; nothing follows */
    BACKUP_PUT = 1,  /* a record with its value */
    BACKUP_SAME = 2, /* a record that is there with this revision since before the backup's start */
    BACKUP_DROP = 3, /* a bucket that was dropped */
};

struct backup_record {
    enum backup_kind kind;
    uint8_t type;
    uint64_t bucket;
    uint64_t revision;
    int64_t expires_ms;
    struct kist_bytes key; /* borrowed until the next record */
    uint32_t len;          /* of the value */
};

struct backup_counts {
    uint64_t put, same, dropped;
};

/* The 32 bytes that bind a stream to what is in clear before it. */
void backup_context(const uint8_t *clear, size_t len, uint8_t out[BACKUP_CONTEXT]);
/* The stream's key, from the root key. */
void backup_key(const struct keyring *kr, uint8_t out[UNLOCK_KEY]);

struct backup_reader {
    int fd; /* borrowed; the stream from its first byte */
    uint64_t at;
    struct keyring *keyring;
    struct stream_reader *stream;
    struct error_detail *detail;
    uint64_t since, revision;
    uint8_t lineage[LINEAGE_ID]; /* of those two */
    struct backup_counts seen;
    uint32_t value_left; /* of the last record's value, not read yet */
    uint64_t dropped;    /* the last bucket that was dropped; 0: none */
    size_t last_len;
    uint8_t last[LOG_INDEX_KEY]; /* to see that records come in order */
    uint8_t record[BACKUP_RECORD_MAX];
};

/* Open it with what opens the store. KIST_EKEY, KIST_ENOTKIST, KIST_ENEWER, KIST_ECORRUPT, KIST_ENOMEM, KIST_EIO. */
int backup_read_open(struct backup_reader *r, int fd, const struct unlock *u, struct error_detail *detail) KIST_MUST_USE;
/* 1: *out is the next record; its value may be read or not · 0: that was all, and the stream is whole · or as open. */
int backup_read_next(struct backup_reader *r, struct backup_record *out) KIST_MUST_USE;
/* len bytes of the value of the last record. */
int backup_read_value(struct backup_reader *r, void *p, uint32_t len) KIST_MUST_USE;
void backup_read_close(struct backup_reader *r);

#endif
