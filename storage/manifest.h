#ifndef STORAGE_MANIFEST_H
#define STORAGE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "storage/store.h"

/*
 * A manifest is the record of one snapshot (or shipped tree, image, data set)
 * kept in a store: what it is, where it came from, and the root of its tree. It is
 * written once, signed by the host, and stays for good; whether the *data* is
 * still kept, and until when, is the claim beside it (storage/snap.h).
 *
 * manifest_write is the only commit point of a snapshot: before it the snapshot
 * does not exist, after it every byte of it is durable, provided the chunks were
 * committed before (store_commit) through the same open store.
 *
 * Strings are owned by the struct manifest (malloc'ed, NULL where there is
 * nothing); free with manifest_free. Times are wall-clock ns since 1970, labels only.
 */
#define MANIFEST_TYPE            "gpurun.manifest.v1"
#define MANIFEST_MAX_BYTES       ((size_t)16 << 20) /* of one encoded manifest */
#define MANIFEST_ID_MAX          64                 /* bytes of an id */
#define MANIFEST_NAMED_MAX       1000               /* damaged entries named in it ... */
#define MANIFEST_NAMED_MAX_BYTES ((size_t)1 << 20)  /* ... and bytes of them */

/* A list of strings (bytes without NUL). */
struct manifest_list {
    char **v;
    size_t n;
};
void manifest_list_add(struct manifest_list *l, const char *s);

enum manifest_kind {
    MANIFEST_NONE = 0,
    MANIFEST_SNAPSHOT, /* the directory of a job */
    MANIFEST_SHIPPED,  /* what a client shipped: base of the next delta */
    MANIFEST_DATA,     /* a named data set */
    MANIFEST_IMAGE,    /* an image's content */
    MANIFEST_SETUP     /* the result of a set-up, by its key */
};

/* An entry that could not be kept as it was (unreadable, vanished, changed while read).
 */
struct manifest_damage {
    char *path; /* bytes as in the tree */
    char *why;  /* for people */
};

struct manifest {
    enum manifest_kind kind;
    char *id;                  /* "s" + 12 characters, made by random_id */
    char *name;                /* of the job or data set, as the user gave it */
    char *job;                 /* job id */
    char *parent;              /* snapshot this one's data started from */
    char *renter;              /* renter id */
    char *image;               /* digest of the image it ran in */
    char *setup;               /* key of the set-up it started from */
    struct manifest_list data; /* "name=digest" of mounted data sets */
    struct manifest_list arg;  /* the command */
    struct manifest_list env;  /* K=V, secrets left out by the caller */
    char *cwd;                 /* relative to the root of the tree */
    char *arch;                /* architecture it ran on */

    char *reason; /* how the job ended, a name of runner's; NULL: it has not */
    char *detail;
    char *detail_form; /* detail taken apart (base/form.h), or NULL */
    bool has_exit_code;
    int32_t exit_code;
    int32_t signal;     /* 0: none */
    struct sha256 bill; /* hash of the receipt, when has_bill */
    bool has_bill;
    int64_t made_wall_ns;    /* when this snapshot was taken */
    int64_t ended_wall_ns;   /* recorded end; 0: none */
    int64_t expires_wall_ns; /* data is kept until then at least; 0: no end set */

    struct sha256 tree; /* id of the tree (storage/tree.h), which leads to every chunk;
                           all zero: there is no data */
    uint64_t n_files;   /* entries of the tree that are files */
    uint64_t n_other;   /* all others: directories, links, devices ... */
    uint64_t content_bytes; /* logical sizes of files summed */
    uint64_t stored_bytes;  /* encoded bytes of the distinct chunks of this tree:
                               what keeping it is charged by */
    uint64_t n_chunks;

    bool partial;       /* something of the source is missing or damaged */
    uint64_t n_damaged; /* how many entries; the first ones are named: */
    struct manifest_damage *damage;
    size_t n_damage;

    struct sign_public signer; /* who signed, after a parse */
};

struct manifest *manifest_new(enum manifest_kind kind);
void manifest_free(struct manifest *m); /* NULL is allowed */
/* Replace a string field: manifest_set(&m->name, s); s may be NULL. */
void manifest_set(char **field, const char *s);
/* Mark an entry damaged; sets partial, counts, and names the first ones. */
void manifest_add_damage(struct manifest *m, const char *path, const char *why);

/* Append the signed encoding to out. ERR_RANGE: something is above its limit. */
int manifest_encode(const struct manifest *m, const struct sign_key *key, struct buf *out,
                    struct err *e) MUST_USE;

/*
 * Parse and check the signature (m->signer is then the key that made it; whether
 * that is the host's key is for the caller to compare). ERR_CORRUPT, ERR_VERSION.
 */
int manifest_parse(struct manifest **out, const void *data, size_t len,
                   struct err *e) MUST_USE;

/*
 * Write m, signed by key, into s under m->id: the commit point. What was put through s
 * is committed first. The encoding is written twice in one file, so that a damaged
 * sector does not lose it. ERR_EXISTS: another manifest has that id (the very same
 * bytes again are fine: a repeated request). One writer of an id at a time.
 */
int manifest_write(struct store *s, const struct manifest *m, const struct sign_key *key,
                   struct err *e) MUST_USE;

/* Keep a manifest made and signed elsewhere (a mirror, an import), bytes as they came. */
int manifest_write_encoded(struct store *s, const void *data, size_t len,
                           struct err *e) MUST_USE;

/* Read one. ERR_NOT_FOUND; ERR_CORRUPT when neither copy in the file is sound. */
int manifest_read(struct store *s, const char *id, struct manifest **out,
                  struct err *e) MUST_USE;
/* Its signed bytes as written (for sending), appended to out. */
int manifest_read_encoded(struct store *s, const char *id, struct buf *out,
                          struct err *e) MUST_USE;

/*
 * Look at both copies in the file of id, and write it anew where one is damaged:
 * *repaired then. ERR_CORRUPT: both are.
 */
int manifest_repair(struct store *s, const char *id, bool *repaired,
                    struct err *e) MUST_USE;

/* "s" and 12 lower-case letters and digits, as random_id makes them: safe as a file name.
 */
bool manifest_id_valid(const char *id);

const char *manifest_kind_name(enum manifest_kind k);

#endif
