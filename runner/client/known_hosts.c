#include "runner/client/known_hosts.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h> /* hashed names are HMAC-SHA1, which nothing else of ours needs */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "runner/client/ssh_config_internal.h"

#define SHA1_LEN 20
#define TYPE_MIN 4

/* ---- public keys ---- */

void
ssh_pubkey_free(struct ssh_pubkey *k)
{
    free(k->blob);
    *k = (struct ssh_pubkey){0};
}

static int
base64_value(char c)
{
    const char *const digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    return at == NULL ? -1 : (int)(at - digits);
}

/* out holds len / 4 * 3 bytes. False: not canonical, padded base64. */
static bool
base64_decode(const char *text, size_t len, uint8_t *out, size_t *n)
{
    *n = 0;
    if (len == 0 || len % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < len; i += 4) {
        bool last = i + 4 == len;
        int pad = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t v = 0;

        for (int j = 0; j < 4; j++) {
            int d = j >= 4 - pad ? 0 : base64_value(text[i + (size_t)j]);

            if (d < 0) {
                return false;
            }
            v = v << 6 | (uint32_t)d;
        }
        if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0)) {
            return false;
        }
        out[(*n)++] = (uint8_t)(v >> 16);
        if (pad < 2) {
            out[(*n)++] = (uint8_t)(v >> 8);
        }
        if (pad < 1) {
            out[(*n)++] = (uint8_t)v;
        }
    }
    return true;
}

static bool
type_ok(const uint8_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isalnum(s[i]) && (s[i] == '\0' || strchr("-@.", s[i]) == NULL)) {
            return false;
        }
    }
    return n >= TYPE_MIN;
}

/* The blob begins with its type as an SSH string; what follows is the type's business. */
static bool
read_type(struct ssh_pubkey *k)
{
    uint32_t n;

    if (k->len < 4) {
        return false;
    }
    n = (uint32_t)k->blob[0] << 24 | (uint32_t)k->blob[1] << 16 |
        (uint32_t)k->blob[2] << 8 | k->blob[3];
    if (n >= sizeof k->type || n > k->len - 4 || !type_ok(k->blob + 4, n)) {
        return false;
    }
    memcpy(k->type, k->blob + 4, n);
    k->type[n] = '\0';
    return true;
}

int
ssh_pubkey_parse(const char *base64, size_t len, struct ssh_pubkey *out, struct err *e)
{
    struct ssh_pubkey k = {0};

    if (len > KNOWN_HOSTS_KEY_MAX) {
        return err_set(e, ERR_CORRUPT, "a public key of %zu characters is too long", len);
    }
    k.blob = xmalloc(len / 4 * 3 + 1);
    if (!base64_decode(base64, len, k.blob, &k.len) || !read_type(&k)) {
        ssh_pubkey_free(&k);
        return err_set(e, ERR_CORRUPT, "not an SSH public key");
    }
    *out = k;
    return 0;
}

void
ssh_pubkey_fingerprint(const struct ssh_pubkey *k, char out[SSH_FINGERPRINT_MAX])
{
    struct sha256 h;
    struct buf b = BUF_INIT;

    sha256_of(k->blob, k->len, &h);
    buf_add_str(&b, "SHA256:");
    text_base64(&b, h.b, sizeof h.b);
    /* 32 bytes are 43 digits and one '=', which ssh-keygen leaves out. */
    memcpy(out, b.data, 7 + 43);
    out[7 + 43] = '\0';
    buf_free(&b);
}

int
ssh_fingerprint_check(const char *text, struct err *e)
{
    size_t n = 0;

    if (strncmp(text, "SHA256:", 7) == 0) {
        while (base64_value(text[7 + n]) >= 0) {
            n++;
        }
        if (n == 43 && (text[50] == '\0' || strcmp(text + 50, "=") == 0)) {
            return 0;
        }
    }
    return err_set(e, ERR_INVALID,
                   "a host key is given as SHA256: and 43 characters, as 'ssh-keygen -lf "
                   "/etc/ssh/ssh_host_ed25519_key.pub' prints it on the host");
}

bool
ssh_pubkey_is(const struct ssh_pubkey *k, const char *fingerprint)
{
    char mine[SSH_FINGERPRINT_MAX];
    struct err e;

    if (ssh_fingerprint_check(fingerprint, &e) != 0) {
        return false;
    }
    ssh_pubkey_fingerprint(k, mine);
    return strncmp(mine, fingerprint, strlen(mine)) == 0;
}

static bool
same_key(const struct ssh_pubkey *a, const struct ssh_pubkey *b)
{
    return a->len == b->len && memcmp(a->blob, b->blob, a->len) == 0;
}

/* ---- names ---- */

char *
known_hosts_name(const char *host, int port)
{
    char *s = port == 22 ? xstrdup(host) : xasprintf("[%s]:%d", host, port);

    for (char *p = s; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return s;
}

/* "|1|base64(salt)|base64(HMAC-SHA1(salt, name))" */
static bool
hashed_match(const char *field, size_t n, const char *name)
{
    const char *salt = field + 3;
    const char *bar;
    uint8_t salt_raw[SHA1_LEN + 4];
    uint8_t want[SHA1_LEN + 4];
    uint8_t got[EVP_MAX_MD_SIZE];
    size_t salt_len;
    size_t want_len;
    unsigned got_len = 0;

    if (n < 4 || memcmp(field, "|1|", 3) != 0) {
        return false;
    }
    bar = memchr(salt, '|', n - 3);
    if (bar == NULL || bar - salt != 28 || (size_t)(field + n - bar - 1) != 28 ||
        !base64_decode(salt, 28, salt_raw, &salt_len) ||
        !base64_decode(bar + 1, 28, want, &want_len) || salt_len != SHA1_LEN ||
        want_len != SHA1_LEN) {
        return false;
    }
    if (HMAC(EVP_sha1(), salt_raw, SHA1_LEN, (const unsigned char *)name, strlen(name),
             got, &got_len) == NULL) {
        return false;
    }
    return got_len == SHA1_LEN && memcmp(got, want, SHA1_LEN) == 0;
}

/* A pattern list: one negated match refuses, else one match suffices. */
static bool
names_match(const char *field, size_t n, const char *name)
{
    bool found = false;

    if (n > 0 && field[0] == '|') {
        return hashed_match(field, n, name);
    }
    while (n > 0) {
        const char *comma = memchr(field, ',', n);
        size_t len = comma == NULL ? n : (size_t)(comma - field);
        bool no = len > 0 && field[0] == '!';

        if (len > 0 &&
            ssh_pattern_match(field + (no ? 1 : 0), len - (no ? 1 : 0), name)) {
            if (no) {
                return false;
            }
            found = true;
        }
        field += comma == NULL ? len : len + 1;
        n -= comma == NULL ? len : len + 1;
    }
    return found;
}

/* ---- lines ---- */

enum marker { MARKER_NONE = 0, MARKER_REVOKED, MARKER_CA, MARKER_UNKNOWN };

struct kh_line {
    enum marker marker;
    const char *names; /* not terminated */
    size_t names_len;
    const char *key; /* what follows the names: type, base64, comment */
    size_t key_len;
};

static void
skip_blanks(const char **p, const char *end)
{
    while (*p < end && (**p == ' ' || **p == '\t')) {
        (*p)++;
    }
}

static size_t
take_word(const char **p, const char *end, const char **word)
{
    skip_blanks(p, end);
    *word = *p;
    while (*p < end && **p != ' ' && **p != '\t') {
        (*p)++;
    }
    return (size_t)(*p - *word);
}

/* False: an empty line or a comment. */
static bool
line_split(const char *p, size_t len, struct kh_line *out)
{
    const char *end = p + len;

    *out = (struct kh_line){0};
    while (end > p && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    out->names_len = take_word(&p, end, &out->names);
    if (out->names_len == 0 || out->names[0] == '#') {
        return false;
    }
    if (out->names[0] == '@') {
        out->marker = MARKER_UNKNOWN;
        if (out->names_len == 8 && memcmp(out->names, "@revoked", 8) == 0) {
            out->marker = MARKER_REVOKED;
        } else if (out->names_len == 15 &&
                   memcmp(out->names, "@cert-authority", 15) == 0) {
            out->marker = MARKER_CA;
        }
        out->names_len = take_word(&p, end, &out->names);
    }
    skip_blanks(&p, end);
    out->key = p;
    out->key_len = (size_t)(end - p);
    return true;
}

/* The key of a line; the type said before it must be the one inside. */
static int
line_key(const struct kh_line *l, struct ssh_pubkey *out, struct err *e)
{
    const char *p = l->key;
    const char *end = p + l->key_len;
    const char *type;
    const char *b64;
    size_t type_len = take_word(&p, end, &type);
    size_t b64_len = take_word(&p, end, &b64);

    if (ssh_pubkey_parse(b64, b64_len, out, e) != 0) {
        return -1;
    }
    if (strlen(out->type) != type_len || memcmp(out->type, type, type_len) != 0) {
        ssh_pubkey_free(out);
        return err_set(e, ERR_CORRUPT, "not the type of key it says");
    }
    return 0;
}

/* ---- what is on record ---- */

struct kh_entry {
    struct known_hosts_key k;
    enum marker marker;
    bool plain_only; /* for the host without its port */
};

struct known_hosts {
    struct kh_entry *v; /* in the order of the files */
    size_t n;
    bool has_ca;
};

static void
add_entry(struct known_hosts *k, const struct kh_entry *en)
{
    k->v = xrealloc(k->v, (k->n + 1) * sizeof *k->v);
    k->v[k->n++] = *en;
}

static int
load_line(struct known_hosts *k, const char *file, int line_no, const char *line,
          size_t len, const char *name, const char *plain, struct err *e)
{
    struct kh_line l;
    struct kh_entry en = {.k = {.file = file, .line = line_no}};

    if (!line_split(line, len, &l) || l.marker == MARKER_UNKNOWN) {
        return 0;
    }
    if (!names_match(l.names, l.names_len, name)) {
        if (plain == NULL || !names_match(l.names, l.names_len, plain)) {
            return 0;
        }
        en.plain_only = true;
    }
    en.marker = l.marker;
    if (l.marker == MARKER_CA) {
        k->has_ca = true;
        return 0;
    }
    if (line_key(&l, &en.k.key, e) != 0) {
        if (l.marker == MARKER_REVOKED) {
            return err_wrap(e, "%s:%d: an @revoked line that cannot be read", file,
                            line_no);
        }
        return 0;
    }
    add_entry(k, &en);
    return 0;
}

static int
load_text(struct known_hosts *k, const char *file, const char *text, size_t len,
          const char *name, const char *plain, struct err *e)
{
    int line_no = 0;

    while (len > 0) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl == NULL ? len : (size_t)(nl - text);

        line_no++;
        if (n > KNOWN_HOSTS_LINE_MAX) {
            return err_set(e, ERR_CORRUPT, "%s:%d: line too long", file, line_no);
        }
        if (load_line(k, file, line_no, text, n, name, plain, e) != 0) {
            return -1;
        }
        text += nl == NULL ? n : n + 1;
        len -= nl == NULL ? n : n + 1;
    }
    return 0;
}

int
known_hosts_load(const char *const *files, size_t n, const char *name, const char *plain,
                 struct known_hosts **out, struct err *e)
{
    struct known_hosts *k = xcalloc(1, sizeof *k);
    struct buf text = BUF_INIT;
    int rc = -1;

    for (size_t i = 0; i < n; i++) {
        struct err why;

        buf_reset(&text);
        if (file_read(files[i], KNOWN_HOSTS_FILE_MAX, &text, &why) != 0) {
            if (why.code == ERR_NOT_FOUND) {
                continue;
            }
            *e = why;
            goto out;
        }
        if (load_text(k, files[i], buf_str(&text), text.len, name, plain, e) != 0) {
            goto out;
        }
    }
    *out = k;
    k = NULL;
    rc = 0;

out:
    buf_free(&text);
    known_hosts_free(k);
    return rc;
}

void
known_hosts_free(struct known_hosts *k)
{
    if (k == NULL) {
        return;
    }
    for (size_t i = 0; i < k->n; i++) {
        ssh_pubkey_free(&k->v[i].k.key);
    }
    free(k->v);
    free(k);
}

enum known_host
known_hosts_check(const struct known_hosts *k, const struct ssh_pubkey *key)
{
    enum known_host found = KNOWN_HOST_NONE;

    for (size_t i = 0; i < k->n; i++) {
        const struct kh_entry *en = &k->v[i];
        bool same = same_key(&en->k.key, key);

        if (en->marker == MARKER_REVOKED) {
            if (same) {
                return KNOWN_HOST_REVOKED;
            }
            continue;
        }
        if (same) {
            found = KNOWN_HOST_OK;
        } else if (found == KNOWN_HOST_NONE && !en->plain_only) {
            found = KNOWN_HOST_CHANGED;
        }
    }
    return found;
}

static bool
counts_as_known(const struct kh_entry *en)
{
    return en->marker == MARKER_NONE && !en->plain_only;
}

size_t
known_hosts_count(const struct known_hosts *k)
{
    size_t n = 0;

    for (size_t i = 0; i < k->n; i++) {
        n += counts_as_known(&k->v[i]) ? 1 : 0;
    }
    return n;
}

const struct known_hosts_key *
known_hosts_at(const struct known_hosts *k, size_t at)
{
    for (size_t i = 0; i < k->n; i++) {
        if (counts_as_known(&k->v[i]) && at-- == 0) {
            return &k->v[i].k;
        }
    }
    return NULL;
}

bool
known_hosts_has_type(const struct known_hosts *k, const char *type)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->v[i].marker == MARKER_NONE && strcmp(k->v[i].k.key.type, type) == 0) {
            return true;
        }
    }
    return false;
}

bool
known_hosts_has_ca(const struct known_hosts *k)
{
    return k->has_ca;
}

/* ---- our own file ---- */

/* Copy text to out without the lines that are about exactly name and hold another key.
 * Returns whether this very key is already there. */
static bool
filter_lines(const char *text, size_t len, const char *name, const struct ssh_pubkey *key,
             bool replace, struct buf *out)
{
    bool there = false;

    while (len > 0) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl == NULL ? len : (size_t)(nl - text);
        struct ssh_pubkey k = {0};
        struct kh_line l;
        struct err e;
        bool about = line_split(text, n, &l) && l.marker == MARKER_NONE &&
                     l.names_len == strlen(name) &&
                     memcmp(l.names, name, l.names_len) == 0 && line_key(&l, &k, &e) == 0;
        bool same = about && same_key(&k, key);

        there = there || same;
        if (!about || same || !replace) {
            buf_add(out, text, n);
            buf_add_u8(out, '\n');
        }
        ssh_pubkey_free(&k);
        text += nl == NULL ? n : n + 1;
        len -= nl == NULL ? n : n + 1;
    }
    return there;
}

int
known_hosts_pin(const char *file, const char *name, const struct ssh_pubkey *key,
                bool replace, struct err *e)
{
    char *lock_path = xasprintf("%s.lock", file);
    struct buf old = BUF_INIT;
    struct buf text = BUF_INIT;
    struct err why;
    int lock = -1;
    int rc = -1;

    if (file_lock(lock_path, true, true, &lock, e) != 0) {
        goto out;
    }
    if (file_read(file, KNOWN_HOSTS_FILE_MAX, &old, &why) != 0 &&
        why.code != ERR_NOT_FOUND) {
        *e = why;
        goto out;
    }
    if (!filter_lines(buf_str(&old), old.len, name, key, replace, &text)) {
        buf_printf(&text, "%s %s ", name, key->type);
        text_base64(&text, key->blob, key->len);
        buf_add_u8(&text, '\n');
    }
    if (text.len == old.len && memcmp(buf_str(&text), buf_str(&old), old.len) == 0) {
        rc = 0;
        goto out;
    }
    rc = file_replace(file, text.data, text.len, e);

out:
    (void)fd_close(&lock);
    free(lock_path);
    buf_free(&old);
    buf_free(&text);
    return rc;
}
