/*
 * gpurun-agent, lying: the real one with some of its calls intercepted by the linker
 * (--wrap), for scenarios of a hostile host. Which lie is in the file that is named as
 * the program is, with ".lie" behind it; none: an honest agent.
 *
 *     receipt        receipts are signed by another host
 *     offer          offers are another host's
 *     charge         receipts charge twice what they should
 *     job ID         whatever is told of a job is told of that one
 *     flip N         the N-th byte of every tree that is fetched is another
 *     silent N       no more than N bytes of a tree that is fetched are sent
 *     mute N         no more than N bytes of the answers to a tree that is shipped
 *     name PATH      the entry EVIL of a directory, and what is in it, is under PATH
 *     type T         the entry EVIL is a "char" or "block" device, or "setuid"
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sign.h"
#include "meter/grant.h"
#include "meter/journal_internal.h"
#include "meter/offer.h"
#include "runner/job/ids.h"
#include "storage/scan.h"
#include "storage/sync.h"

#define MARK "EVIL"

/* The linker's names for a call that is intercepted, and for what takes its place. */
#define REAL(name) __asm__("__real_" #name)
#define WRAP(name) __asm__("__wrap_" #name)

void real_rec_add_bytes(struct rec *r, const char *key, const void *data, size_t len)
    REAL(rec_add_bytes);
void wrap_rec_add_bytes(struct rec *r, const char *key, const void *data, size_t len)
    WRAP(rec_add_bytes);
int real_offer_sign(struct offer *o, const struct sign_key *host, struct err *e)
    REAL(offer_sign);
int wrap_offer_sign(struct offer *o, const struct sign_key *host, struct err *e)
    WRAP(offer_sign);
int64_t real_grant_charge(const struct grant *g, int64_t setup_s, int64_t device_s)
    REAL(grant_charge);
int64_t wrap_grant_charge(const struct grant *g, int64_t setup_s, int64_t device_s)
    WRAP(grant_charge);
const uint8_t *real_sync_send_output(struct sync_send *s, size_t *len)
    REAL(sync_send_output);
const uint8_t *wrap_sync_send_output(struct sync_send *s, size_t *len)
    WRAP(sync_send_output);
void real_sync_send_sent(struct sync_send *s, size_t n) REAL(sync_send_sent);
void wrap_sync_send_sent(struct sync_send *s, size_t n) WRAP(sync_send_sent);
const uint8_t *real_sync_recv_output(struct sync_recv *r, size_t *len)
    REAL(sync_recv_output);
const uint8_t *wrap_sync_recv_output(struct sync_recv *r, size_t *len)
    WRAP(sync_recv_output);
void real_sync_recv_sent(struct sync_recv *r, size_t n) REAL(sync_recv_sent);
void wrap_sync_recv_sent(struct sync_recv *r, size_t n) WRAP(sync_recv_sent);
int real_scan_next(struct scan *s, const struct scan_entry **entry, struct err *e)
    REAL(scan_next);
int wrap_scan_next(struct scan *s, const struct scan_entry **entry, struct err *e)
    WRAP(scan_next);
bool real_tree_path_ok(const char *path, size_t len) REAL(tree_path_ok);
bool wrap_tree_path_ok(const char *path, size_t len) WRAP(tree_path_ok);
int real_beneath_open(int root_fd, const char *path, int flags, mode_t mode)
    REAL(beneath_open);
int wrap_beneath_open(int root_fd, const char *path, int flags, mode_t mode)
    WRAP(beneath_open);

/* What follows word in the file of the lie; NULL: it is another lie. Valid until the next
 * call. */
static const char *
lie(const char *word)
{
    static _Thread_local char said[PATH_MAX];
    char path[PATH_MAX + 8];
    size_t len = strlen(word);
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
    FILE *f;
    bool this_one;

    if (n <= 0) {
        return NULL;
    }
    (void)snprintf(path + n, 8, ".lie");
    f = fopen(path, "re");
    this_one = f != NULL && fgets(said, sizeof said, f) != NULL;
    if (f != NULL) {
        (void)fclose(f);
    }
    if (!this_one || strncmp(said, word, len) != 0) {
        return NULL;
    }
    said[strcspn(said, "\n")] = '\0';
    return said + len + (said[len] == ' ');
}

/* ---- what is signed ---- */

/*
 * The receipt of a journal as another host would have signed it. data: a journal whose
 * last frame is one: "#length crc\n", the record, which ends in signer= and sig=.
 */
static void
sign_otherwise(struct buf *out, const uint8_t *data, size_t len, size_t at)
{
    static const char last[] = "signer=";
    struct sign_key *other = NULL;
    struct sign_public pub;
    uint8_t sig[SIGN_SIG_LEN];
    struct buf r = BUF_INIT;
    struct err e;
    const uint8_t *signer = memmem(data + at, len - at, last, strlen(last));
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    char head[JOURNAL_FRAME_HEAD + 1];

    if (signer == NULL || sign_key_new(&other, &e) != 0) {
        abort();
    }
    sign_key_public(other, &pub);
    sign_public_format(&pub, hex);
    buf_add(&r, data + at, (size_t)(signer - data) - at);
    buf_printf(&r, "%s%s\n", last, hex);
    sign_bytes(other, r.data, r.len, sig);
    buf_add_str(&r, "sig=");
    for (size_t i = 0; i < sizeof sig; i++) {
        buf_printf(&r, "%02x", sig[i]);
    }
    buf_add_u8(&r, '\n');
    buf_add(out, data, at - JOURNAL_FRAME_HEAD);
    journal_frame_head(head, r.data, r.len);
    buf_add(out, head, JOURNAL_FRAME_HEAD);
    buf_add(out, r.data, r.len);
    buf_free(&r);
    sign_key_free(other);
}

/* A state as one of that job. */
static void
add_state_of(struct rec *r, const char *job, const void *data, size_t len)
{
    static const char field[] = "\njob=";
    char *other = xmemdup(data, len);
    char *at = memmem(other, len, field, strlen(field));

    if (at == NULL || strlen(job) != JOB_ID_LEN) {
        abort();
    }
    memcpy(at + strlen(field), job, JOB_ID_LEN);
    real_rec_add_bytes(r, "state", other, len);
    free(other);
}

void
wrap_rec_add_bytes(struct rec *r, const char *key, const void *data, size_t len)
{
    static const char type[] = "gpurun.receipt.v1\n";
    const uint8_t *receipt = strcmp(key, "journal") == 0 && lie("receipt") != NULL
                                 ? memmem(data, len, type, strlen(type))
                                 : NULL;
    const char *job = strcmp(key, "state") == 0 ? lie("job") : NULL;
    struct buf b = BUF_INIT;

    if (job != NULL) {
        add_state_of(r, job, data, len);
        return;
    }
    if (receipt == NULL) {
        real_rec_add_bytes(r, key, data, len);
        return;
    }
    sign_otherwise(&b, data, len, (size_t)(receipt - (const uint8_t *)data));
    real_rec_add_bytes(r, key, b.data, b.len);
    buf_free(&b);
}

int
wrap_offer_sign(struct offer *o, const struct sign_key *host, struct err *e)
{
    struct sign_key *other = NULL;
    int rc;

    if (lie("offer") == NULL || sign_key_new(&other, e) != 0) {
        return real_offer_sign(o, host, e);
    }
    rc = real_offer_sign(o, other, e);
    sign_key_free(other);
    return rc;
}

int64_t
wrap_grant_charge(const struct grant *g, int64_t setup_s, int64_t device_s)
{
    return real_grant_charge(g, setup_s, device_s) * (lie("charge") != NULL ? 2 : 1);
}

/* ---- what is on its way ---- */

static uint64_t went;     /* of the one tree that a server sends here */
static uint64_t answered; /* of what it answers to the one that it is sent */

/* With that lie *len is cut to what may still go of so many bytes. */
static void
stop_after(const char *word, uint64_t gone, size_t *len)
{
    const char *at = lie(word);
    uint64_t n = at != NULL ? strtoull(at, NULL, 10) : UINT64_MAX;

    if (gone >= n) {
        *len = 0;
    } else if (*len > n - gone) {
        *len = (size_t)(n - gone);
    }
}

const uint8_t *
wrap_sync_recv_output(struct sync_recv *r, size_t *len)
{
    const uint8_t *data = real_sync_recv_output(r, len);

    stop_after("mute", answered, len);
    return data;
}

void
wrap_sync_recv_sent(struct sync_recv *r, size_t n)
{
    answered += n;
    real_sync_recv_sent(r, n);
}

const uint8_t *
wrap_sync_send_output(struct sync_send *s, size_t *len)
{
    static uint8_t *copy;
    const uint8_t *data = real_sync_send_output(s, len);
    const char *at;
    uint64_t n;

    stop_after("silent", went, len);
    at = lie("flip");
    n = at != NULL ? strtoull(at, NULL, 10) : 0;
    if (at == NULL || data == NULL || n < went || n >= went + *len) {
        return data;
    }
    free(copy);
    copy = xmemdup(data, *len);
    copy[n - went] ^= 0x10;
    return copy;
}

void
wrap_sync_send_sent(struct sync_send *s, size_t n)
{
    went += n;
    real_sync_send_sent(s, n);
}

/* ---- what is in a directory ---- */

/* Is path from, or below it? What follows then. */
static const char *
after(const char *path, const char *from)
{
    size_t len = strlen(from);

    return strncmp(path, from, len) == 0 && (path[len] == '\0' || path[len] == '/')
               ? path + len
               : NULL;
}

int
wrap_scan_next(struct scan *s, const struct scan_entry **entry, struct err *e)
{
    static _Thread_local char name[2 * PATH_MAX];
    static _Thread_local struct scan_entry changed;
    int rc = real_scan_next(s, entry, e);
    const char *rest = rc == 0 && *entry != NULL ? after((*entry)->path, MARK) : NULL;
    const char *said;

    if (rest == NULL) {
        return rc;
    }
    changed = **entry;
    *entry = &changed;
    if ((said = lie("name")) != NULL) {
        changed.path_len = (size_t)snprintf(name, sizeof name, "%s%s", said, rest);
        changed.path = name;
    } else if ((said = lie("type")) != NULL && strcmp(said, "setuid") == 0) {
        changed.mode |= 06000;
    } else if (said != NULL) {
        changed.type = strcmp(said, "char") == 0 ? TREE_CHAR : TREE_BLOCK;
        changed.rdev = makedev(1, 5);
        changed.size = 0;
    }
    return 0;
}

int
wrap_beneath_open(int root_fd, const char *path, int flags, mode_t mode)
{
    const char *name = lie("name");
    const char *rest = name != NULL ? after(path, name) : NULL;
    char real[2 * PATH_MAX];

    if (rest != NULL) {
        (void)snprintf(real, sizeof real, "%s%s", MARK, rest);
    }
    return real_beneath_open(root_fd, rest != NULL ? real : path, flags, mode);
}

/* The liar's own checks do not stop it. */
bool
wrap_tree_path_ok(const char *path, size_t len)
{
    return lie("name") != NULL || real_tree_path_ok(path, len);
}
