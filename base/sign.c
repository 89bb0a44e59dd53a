#include "base/sign.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"

#define KEY_TYPE     "gpurun.key.v1"
#define KEY_FILE_MAX 4096
#define SEED_LEN     32

struct sign_key {
    EVP_PKEY *pkey;
    uint8_t seed[SEED_LEN];
    struct sign_public public;
};

static struct sign_key *
key_from_seed(const uint8_t seed[SEED_LEN])
{
    struct sign_key *k = xcalloc(1, sizeof *k);
    size_t len = SIGN_PUBLIC_LEN;

    memcpy(k->seed, seed, SEED_LEN);
    k->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, SEED_LEN);
    if (k->pkey == NULL || EVP_PKEY_get_raw_public_key(k->pkey, k->public.b, &len) != 1) {
        sign_key_free(k);
        return NULL;
    }
    return k;
}

int
sign_key_new(struct sign_key **out, struct err *e)
{
    uint8_t seed[SEED_LEN];
    struct sign_key *k;

    random_bytes(seed, sizeof seed);
    k = key_from_seed(seed);
    OPENSSL_cleanse(seed, sizeof seed);
    if (k == NULL) {
        return err_set(e, ERR_SYSTEM, "cannot make an Ed25519 key");
    }
    *out = k;
    return 0;
}

void
sign_key_free(struct sign_key *k)
{
    if (k == NULL) {
        return;
    }
    EVP_PKEY_free(k->pkey);
    OPENSSL_cleanse(k, sizeof *k);
    free(k);
}

void
sign_key_public(const struct sign_key *k, struct sign_public *out)
{
    *out = k->public;
}

static void
wipe(struct buf *b)
{
    if (b->data != NULL) {
        OPENSSL_cleanse(b->data, b->cap);
    }
    buf_free(b);
}

/* Read all of fd into text, whose memory is there already: no stray copies of a key. */
static int
read_key_file(int fd, const char *path, struct buf *text, struct err *e)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) == -1) {
        return err_set_sys(e, errno, "cannot read the key '%s'", path);
    }
    if ((st.st_mode & 077) != 0) {
        return err_set(e, ERR_DENIED,
                       "the key '%s' is open to others (mode %03o); if nobody read it: "
                       "chmod 600 it",
                       path, (unsigned)(st.st_mode & 0777));
    }
    buf_reserve(text, KEY_FILE_MAX);
    n = fd_read_full(fd, text->data, KEY_FILE_MAX);
    if (n == -1) {
        return err_set_sys(e, errno, "cannot read the key '%s'", path);
    }
    text->len = (size_t)n;
    return 0;
}

static int
parse_key(struct sign_key **out, const struct buf *text, const char *path, struct err *e)
{
    struct rec *r = NULL;
    uint8_t seed[SEED_LEN];
    struct sign_public want;
    struct sign_key *k = NULL;
    int rc = -1;

    if (rec_parse(&r, text->data, text->len, KEY_TYPE, e) != 0 ||
        rec_need_hex(r, "seed", seed, sizeof seed, e) != 0 ||
        rec_need_hex(r, "public", want.b, sizeof want.b, e) != 0) {
        err_wrap(e, "the key '%s'", path);
        goto out;
    }
    k = key_from_seed(seed);
    if (k == NULL || memcmp(k->public.b, want.b, sizeof want.b) != 0) {
        err_set(e, ERR_CORRUPT, "the halves of the key '%s' do not belong together",
                path);
        goto out;
    }
    *out = k;
    k = NULL;
    rc = 0;

out:
    OPENSSL_cleanse(seed, sizeof seed);
    sign_key_free(k);
    rec_free_wiped(r);
    return rc;
}

/* *missing is whether there is no file of that name; the result is -1 then, e untouched.
 */
static int
load_key(struct sign_key **out, const char *path, bool *missing, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct buf text = BUF_INIT;
    int rc = -1;

    *missing = fd == -1 && errno == ENOENT;
    if (fd == -1) {
        return *missing ? -1 : err_set_sys(e, errno, "cannot open the key '%s'", path);
    }
    if (read_key_file(fd, path, &text, e) == 0) {
        rc = parse_key(out, &text, path, e);
    }
    wipe(&text);
    (void)fd_close(&fd);
    return rc;
}

static void
encode_key(const struct sign_key *k, struct buf *out)
{
    struct rec *r = rec_new(KEY_TYPE);

    buf_reserve(out, KEY_FILE_MAX); /* never moved: no copies left behind */
    rec_add_hex(r, "seed", k->seed, SEED_LEN);
    rec_add_hex(r, "public", k->public.b, SIGN_PUBLIC_LEN);
    rec_encode(r, out);
    rec_free_wiped(r);
}

/* Give the complete file tmp the name path unless that is taken; either way is fine. */
static int
publish_key(const char *tmp, const char *path, struct err *e)
{
    if (link(tmp, path) == -1 && errno != EEXIST) {
        /* No hard links on this file system. */
        if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) == -1 &&
            errno != EEXIST) {
            return err_set_sys(e, errno, "cannot make the key '%s'", path);
        }
    }
    return 0;
}

/* Make a key file at path; another process that does the same at once may win. */
static int
make_key_file(const char *path, struct err *e)
{
    struct sign_key *k = NULL;
    struct buf text = BUF_INIT;
    char id[ID_RANDOM_LEN + 2];
    char *tmp = NULL;
    char *dir = NULL;
    int fd = -1;
    int rc = -1;

    random_id(".", id);
    tmp = xasprintf("%s%s", path, id);
    dir = path_parent(path);
    if (sign_key_new(&k, e) != 0) {
        goto out;
    }
    encode_key(k, &text);
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd == -1 || fd_write_all(fd, text.data, text.len) == -1 || fsync(fd) == -1 ||
        fd_close(&fd) == -1) {
        err_set_sys(e, errno, "cannot make the key '%s'", path);
        goto out;
    }
    if (publish_key(tmp, path, e) != 0) {
        goto out;
    }
    (void)unlink(tmp);
    rc = file_sync_dir(dir, e);

out:
    (void)fd_close(&fd);
    if (rc != 0) {
        (void)unlink(tmp);
    }
    wipe(&text);
    sign_key_free(k);
    free(dir);
    free(tmp);
    return rc;
}

int
sign_key_open(struct sign_key **out, const char *path, struct err *e)
{
    bool missing;
    int rc = load_key(out, path, &missing, e);

    if (missing) {
        if (make_key_file(path, e) != 0) {
            return -1;
        }
        rc = load_key(out, path, &missing, e);
        if (missing) {
            return err_set(e, ERR_NOT_FOUND, "the key '%s' was removed while it was made",
                           path);
        }
    }
    return rc;
}

void
sign_bytes(const struct sign_key *k, const void *data, size_t len,
           uint8_t sig[SIGN_SIG_LEN])
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    size_t sig_len = SIGN_SIG_LEN;

    if (c == NULL || EVP_DigestSignInit(c, NULL, NULL, NULL, k->pkey) != 1 ||
        EVP_DigestSign(c, sig, &sig_len, data, len) != 1 || sig_len != SIGN_SIG_LEN) {
        /* Only memory can be short. */
        (void)fputs("libcrypto: signing failed\n", stderr);
        abort();
    }
    EVP_MD_CTX_free(c);
}

int
sign_check(const struct sign_public *by, const void *data, size_t len,
           const uint8_t sig[SIGN_SIG_LEN], struct err *e)
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, by->b, SIGN_PUBLIC_LEN);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool holds = key != NULL && c != NULL &&
                 EVP_DigestVerifyInit(c, NULL, NULL, NULL, key) == 1 &&
                 EVP_DigestVerify(c, sig, SIGN_SIG_LEN, data, len) == 1;

    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    return holds ? 0 : err_set(e, ERR_CORRUPT, "the signature does not hold");
}

void
sign_rec(struct rec *r, const struct sign_key *k)
{
    struct buf text = BUF_INIT;
    uint8_t sig[SIGN_SIG_LEN];

    rec_add_hex(r, "signer", k->public.b, SIGN_PUBLIC_LEN);
    rec_encode(r, &text);
    sign_bytes(k, text.data, text.len, sig);
    rec_add_hex(r, "sig", sig, sizeof sig);
    buf_free(&text);
}

/* The bytes of field i if it is the given key with n bytes in hex. */
static bool
hex_field(const struct rec *r, size_t i, const char *key, uint8_t *out, size_t n)
{
    const char *value;
    size_t len;

    return strcmp(rec_field(r, i, &value, &len), key) == 0 &&
           hex_parse(value, len, out, n);
}

static int
signed_by(const struct rec *r, struct sign_public *by, uint8_t sig[SIGN_SIG_LEN],
          struct err *e)
{
    size_t n = rec_n_fields(r);
    struct sign_public signer;

    if (n < 2 || !hex_field(r, n - 2, "signer", signer.b, sizeof signer.b) ||
        !hex_field(r, n - 1, "sig", sig, SIGN_SIG_LEN)) {
        return err_set(e, ERR_CORRUPT, "%s is not signed", rec_type(r));
    }
    *by = signer;
    return 0;
}

int
sign_rec_signer(const struct rec *r, struct sign_public *by, struct err *e)
{
    uint8_t sig[SIGN_SIG_LEN];

    return signed_by(r, by, sig, e);
}

int
sign_rec_check(const struct rec *r, struct sign_public *by, struct err *e)
{
    const size_t sig_line = sizeof "sig=\n" - 1 + 2 * (size_t)SIGN_SIG_LEN;
    uint8_t sig[SIGN_SIG_LEN];
    struct sign_public signer;
    struct buf text = BUF_INIT;
    int rc;

    if (signed_by(r, &signer, sig, e) != 0) {
        return -1;
    }
    rec_encode(r, &text);
    rc = sign_check(&signer, text.data, text.len - sig_line, sig, e);
    if (rc == 0) {
        *by = signer;
    } else {
        (void)err_wrap(e, "%s", rec_type(r));
    }
    buf_free(&text);
    return rc;
}

bool
sign_rec_says(const struct rec *r, const struct rec *said)
{
    size_t n = rec_n_fields(said);

    if (rec_n_fields(r) != n + 2 || strcmp(rec_type(r), rec_type(said)) != 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char *a;
        const char *b;
        size_t na;
        size_t nb;

        if (strcmp(rec_field(r, i, &a, &na), rec_field(said, i, &b, &nb)) != 0 ||
            na != nb || memcmp(a, b, na) != 0) {
            return false;
        }
    }
    return true;
}

void
sign_public_format(const struct sign_public *p, char out[2 * SIGN_PUBLIC_LEN + 1])
{
    hex_format(p->b, SIGN_PUBLIC_LEN, out);
}

void
sign_public_id(const struct sign_public *p, char out[SIGN_ID_LEN + 1])
{
    struct sha256 h;

    sha256_of(p->b, SIGN_PUBLIC_LEN, &h);
    hex_format(h.b, SIGN_ID_LEN / 2, out);
}
