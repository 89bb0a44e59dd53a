#ifndef STORAGE_SYNC_H
#define STORAGE_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/build.h"
#include "storage/store.h"
#include "storage/tree.h"

/*
 * Moving a tree from one side to the other: only what is missing, in at most two round
 * trips before bulk, none where the other side has the tree already (DESIGN.md, "Sync").
 * Both halves turn bytes in into bytes out; whoever owns them carries the bytes over an
 * ordered, reliable channel (a fresh one for each pair of halves).
 *
 * Everything is checked by hash on arrival and committed now and then, so a transfer
 * that was cut goes on where it was when it is begun again with new halves.
 *
 *     sender                                   receiver
 *     OFFER ids …                     ->
 *                                     <-       WANT which of them
 *     DATA chunks                     ->
 *     TREE id                         ->
 *                                     <-       MISSING ids | UNKNOWN | DONE id
 *
 * With a base (a tree the receiver is believed to hold) the sender does not ask: it
 * sends what is new since the base, then TREE; an unchanged tree is TREE alone.
 */

/* A frame is at most this long; both halves refuse longer ones. */
#define SYNC_FRAME_MAX_BYTES ((size_t)256 * 1024)
/* Without being asked, without a base, a sender sends this much at once. */
#define SYNC_PUSH_FIRST_BYTES ((size_t)128 * 1024)
/* With a base: what is new is sent unasked up to this much, and offered beyond it. */
#define SYNC_PUSH_NEW_BYTES ((size_t)4 * 1024 * 1024)

enum sync_state {
    SYNC_NONE = 0,
    SYNC_RUNNING,
    SYNC_DONE,   /* the receiver holds the tree, committed */
    SYNC_FAILED, /* see the error */
};

/* What a half has done; any thread's view may be a moment old. */
struct sync_stats {
    uint64_t n_offered; /* chunks */
    uint64_t n_wanted;
    uint64_t n_sent;       /* or received */
    uint64_t sent_bytes;   /* raw */
    uint64_t wanted_bytes; /* of a sender: raw, of all that is to be sent, as far as it
                              knows by now; 0 for a receiver, who cannot tell */
    uint64_t wire_bytes;   /* as they went, framing included */
};

/*
 * Where in its frames a stream of a transfer stands, for whoever carries the bytes. All
 * zero: at the beginning.
 */
struct sync_place {
    uint8_t head[8];
    size_t n_head;         /* of the frame that has begun; 0: none has */
    size_t left;           /* of its payload */
    uint8_t first;         /* byte of it */
    uint64_t n_asked;      /* frames of a sender that want an answer */
    uint64_t n_answered;   /* and a receiver's, whole, that are one */
    uint64_t stored_bytes; /* of chunks, in a sender's whole frames: as they are kept */
};
void sync_place_pass(struct sync_place *p, const void *data, size_t n);
bool
sync_place_is_inside(const struct sync_place *p); /* a frame: more of it is to come */
/* The sender asked for something that the receiver has not answered; else it goes on. */
bool sync_place_is_asked(const struct sync_place *sender,
                         const struct sync_place *receiver);

/* ---- sending ---- */

struct sync_send;

struct sync_send_options {
    size_t window_bytes; /* content held in memory until it is known to be wanted; 0: 64
                            MiB */
    const char *only;    /* sync_send_store: of the contents only what this path takes
                            (part.h); outlives the sender; NULL: all */
    /*
     * sync_send_dir: the receiver's own store, open here as well. What is read is put
     * there at once, and only the tree is announced; the receiver checks that it has all
     * of it, as ever. Outlives the sender; NULL: none.
     */
    struct store *into;
    unsigned n_threads; /* that compress; 0: one per core, at most 8 */
    /*
     * From any thread: there is output, or room, or the state changed. Must not call
     * back into the sender.
     */
    void (*wake)(void *ctx);
    void *wake_ctx;
};

/*
 * Ship the directory root_fd: building starts at once, in threads of its own, before
 * any peer is known. root_fd and what o points to must outlive the sender.
 */
int sync_send_dir(struct sync_send **out, int root_fd, const struct build_options *b,
                  const struct sync_send_options *o, struct err *e) MUST_USE;
/* Send tree_id out of s, which must outlive the sender. */
int sync_send_store(struct sync_send **out, struct store *s, const struct sha256 *tree_id,
                    const struct sync_send_options *o, struct err *e) MUST_USE;

/* The tree is made (or failed: -1): *r stays the sender's; NULL while it goes on. */
int sync_send_built(struct sync_send *s, const struct build_report **r,
                    struct err *e) MUST_USE;
/* A receiver is there. base: a tree it is believed to hold, or NULL. Once. */
void sync_send_begin(struct sync_send *s, const struct sha256 *base);

/*
 * The receiver has room for so many bytes, as it keeps them. Once it is known what it
 * lacks and that this is surely more, the sender fails (ERR_SPACE) instead of sending; of
 * a tree that is made by now, before more than what is pushed, and of one out of a store
 * before anything, if this is said before sync_send_begin.
 */
void sync_send_room(struct sync_send *s, uint64_t room_bytes);

/* Bytes to be sent; *len 0: none now. Valid until the next call; never blocks. */
const uint8_t *sync_send_output(struct sync_send *s, size_t *len);
void sync_send_sent(struct sync_send *s, size_t n); /* so many of them went out */
/* Bytes from the receiver. -1: the peer is wrong, or refused (its words in *e). */
int sync_send_input(struct sync_send *s, const void *data, size_t n,
                    struct err *e) MUST_USE;
/* Ids were offered: the receiver has yet to say which of them it has. */
bool sync_send_awaits_answer(struct sync_send *s);
/* All was said: it has yet to say that all of it is on its disk. */
bool sync_send_awaits_end(struct sync_send *s);
/* SYNC_FAILED fills *e. */
enum sync_state sync_send_state(struct sync_send *s, struct err *e);
void sync_send_stats(struct sync_send *s, struct sync_stats *out);
void sync_send_free(struct sync_send *s); /* at any moment; NULL is allowed */

/* ---- receiving ---- */

struct sync_recv;

struct sync_recv_options {
    uint64_t max_bytes; /* raw bytes taken in, at most: quota; 0: no limit */
    /*
     * Asked when more than that is coming, with how much has been, the next chunk's bytes
     * among it: *max_bytes grows to what may be taken in then. NULL: it is the end.
     */
    int (*more)(void *ctx, uint64_t taken_bytes, uint64_t *max_bytes, struct err *e);
    void *more_ctx;
    uint64_t commit_bytes; /* commit after so much; 0: 64 MiB */
    /*
     * Done when the tree's own chunks are here and what this path takes of its contents
     * (part.h); outlives the receiver; NULL: all. What arrives is checked the same.
     */
    const char *only;
    bool forms; /* the sender takes the form of a refusal, too (base/form.h) */
    /*
     * A chunk arrived, and is in the store; in order. The memory of its bytes may be
     * taken (then raw is empty). NULL: nobody asks.
     */
    void (*came)(void *ctx, enum store_kind kind, const struct sha256 *id,
                 uint32_t raw_len, struct buf *raw);
    void *came_ctx;
};

/*
 * Into the store s, which must outlive it. One thread at a time. Works as it is fed:
 * input may take as long as writing what it was given takes.
 */
int sync_recv_new(struct sync_recv **out, struct store *s,
                  const struct sync_recv_options *o, struct err *e) MUST_USE;
/* -1: the peer is wrong, or the store failed; a refusal for the peer is in the output. */
int sync_recv_input(struct sync_recv *r, const void *data, size_t n,
                    struct err *e) MUST_USE;
const uint8_t *sync_recv_output(struct sync_recv *r, size_t *len);
void sync_recv_sent(struct sync_recv *r, size_t n);
/* DONE is said (and in the output) only once the whole tree is in s and committed. */
enum sync_state sync_recv_state(const struct sync_recv *r, struct sha256 *tree_id);
void sync_recv_stats(const struct sync_recv *r, struct sync_stats *out);
/* What arrived is committed first, as far as that works. NULL is allowed. */
void sync_recv_free(struct sync_recv *r);

#endif
