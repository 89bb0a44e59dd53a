#ifndef METER_SESSION_INTERNAL_H
#define METER_SESSION_INTERNAL_H

#include "base/clock.h"
#include "meter/journal_internal.h"
#include "meter/session.h"

/* Shared by session.c (the meter) and session_file.c (its file). */

/* Ticks are dropped, not kept in memory, above this much that the disk refused. */
#define SESSION_UNWRITTEN_MAX ((size_t)1 << 20)

struct meter_session {
    struct journal_reader *r; /* all that was recorded, as a verifier sees it */
    const struct sign_key *key;
    char boot[BOOT_ID_LEN + 1];
    int64_t held_bytes;
    int64_t busy_ns;
    int64_t setup_boot_ns; /* -1: never */
    int64_t ready_boot_ns; /* -1: never */
    int64_t checkpoint_boot_ns;
    int64_t cosigned_seq[3];        /* by enum journal_signer */
    struct journal_device *devices; /* not yet named in a record */
    size_t n_devices;

    int dir_fd; /* the caller's */
    char *name;
    int fd;
    struct buf unwritten;   /* frames that the disk does not have yet */
    uint64_t on_disk_bytes; /* durable */
    uint64_t reserved_bytes;
};

void session_now(const struct meter_session *s, struct usage_moment *m);
int session_prepare(const struct meter_session *s, enum journal_kind kind,
                    struct journal_entry *x, struct usage_track *t,
                    struct err *e) MUST_USE;
int session_put(struct meter_session *s, struct journal_entry *x,
                const struct usage_track *t, const struct grant *g,
                struct err *e) MUST_USE;
/* Make everything unwritten durable. After a failure it is still unwritten. */
int session_flush(struct meter_session *s, struct err *e) MUST_USE;
void session_file_close(struct meter_session *s);

#endif
