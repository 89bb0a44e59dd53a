#include "base/authkeys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"

#define FILE_MAX ((size_t)16 << 20)
#define KEY_MAX  ((size_t)64 * 1024)
#define NS_PER_S ((int64_t)1000000000)

/* ---- keys ---- */

static bool
is_type(const char *word, size_t n)
{
    static const char *const types[] = {"ssh-ed25519",
                                        "ssh-rsa",
                                        "ecdsa-sha2-nistp256",
                                        "ecdsa-sha2-nistp384",
                                        "ecdsa-sha2-nistp521",
                                        "sk-ssh-ed25519@openssh.com",
                                        "sk-ecdsa-sha2-nistp256@openssh.com",
                                        NULL};

    for (size_t i = 0; types[i] != NULL; i++) {
        if (strlen(types[i]) == n && memcmp(types[i], word, n) == 0) {
            return true;
        }
    }
    return false;
}

static int
base64_value(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    return at == NULL ? -1 : (int)(at - digits);
}

static bool
decode(const char *text, size_t n, struct buf *out)
{
    uint32_t bits = 0;
    int n_bits = 0;

    while (n > 0 && text[n - 1] == '=') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(text[i]);

        if (v < 0) {
            return false;
        }
        bits = (bits << 6 | (uint32_t)v) & 0xffffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_add_u8(out, (uint8_t)(bits >> n_bits));
        }
    }
    return out->len > 0;
}

/* The blob begins with its own type: what is pasted wrongly seldom does. */
static bool
blob_fits(const struct buf *raw, const char *type)
{
    size_t n = strlen(type);

    return raw->len > 4 + n && raw->data[0] == 0 && raw->data[1] == 0 &&
           raw->data[2] == 0 && raw->data[3] == n && memcmp(raw->data + 4, type, n) == 0;
}

static char *
word_of(const char *at, size_t n)
{
    char *w = xmalloc(n + 1);

    memcpy(w, at, n);
    w[n] = '\0';
    return w;
}

int
authkey_parse(struct authkey *out, const char *line, struct err *e)
{
    struct authkey k = {NULL, NULL, ""};
    struct buf raw = BUF_INIT;
    struct sha256 h;
    const char *blob;
    size_t type_len;
    size_t blob_len;
    int rc = -1;

    line += strspn(line, " \t");
    type_len = strcspn(line, " \t\r\n");
    blob = line + type_len;
    blob += strspn(blob, " \t");
    blob_len = strcspn(blob, " \t\r\n");
    if (!is_type(line, type_len)) {
        return err_set(e, ERR_INVALID, "this is not a line with an SSH public key");
    }
    k.type = word_of(line, type_len);
    k.blob = word_of(blob, blob_len);
    if (!decode(blob, blob_len, &raw) || !blob_fits(&raw, k.type)) {
        err_set(e, ERR_INVALID, "the SSH public key is damaged");
        goto out;
    }
    sha256_of(raw.data, raw.len, &h);
    hex_format(h.b, SIGN_ID_LEN / 2, k.id);
    *out = k;
    k = (struct authkey){NULL, NULL, ""};
    rc = 0;

out:
    authkey_free(&k);
    buf_free(&raw);
    return rc;
}

int
authkey_load(struct authkey *out, const char *path, struct err *e)
{
    struct buf b = BUF_INIT;
    char *save = NULL;
    int rc = -1;

    if (file_read(path, KEY_MAX, &b, e) != 0) {
        return -1;
    }
    if (b.len > 0 && strstr((char *)b.data, "PRIVATE KEY") != NULL) {
        err_set(e, ERR_INVALID, "'%s' is a private key; give the file that ends in .pub",
                path);
        goto out;
    }
    err_set(e, ERR_INVALID, "'%s' holds no SSH public key", path);
    for (char *line = b.len == 0 ? NULL : strtok_r((char *)b.data, "\n", &save);
         line != NULL; line = strtok_r(NULL, "\n", &save)) {
        if (line[strspn(line, " \t\r")] != '\0' && line[0] != '#') {
            rc = authkey_parse(out, line, e);
            break;
        }
    }

out:
    buf_free(&b);
    return rc == 0 ? 0 : err_wrap(e, "'%s'", path);
}

void
authkey_free(struct authkey *k)
{
    free(k->type);
    free(k->blob);
    *k = (struct authkey){NULL, NULL, ""};
}

/* ---- lines ---- */

static bool
holds(const char *line, size_t n, const char *what)
{
    return memmem(line, n, what, strlen(what)) != NULL;
}

/* Ours: a forced command that serves this id. */
static bool
is_ours(const char *line, size_t n, const char *words, const char *id)
{
    char *command = xasprintf(" %s %s\"", words, id);
    bool ours = holds(line, n, "command=\"") && holds(line, n, command);

    free(command);
    return ours;
}

int
authkeys_edit(const struct buf *in, const char *words, const char *id, const char *blob,
              const char *line, struct buf *out, int *n, struct err *e)
{
    const char *at = buf_str(in);
    const char *end = at + in->len;

    *n = 0;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = stop == NULL ? (size_t)(end - at) : (size_t)(stop - at);
        bool comment = len > 0 && at[0] == '#';

        if (is_ours(at, len, words, id)) {
            (*n)++;
        } else if (!comment && blob != NULL && holds(at, len, blob)) {
            return err_set(e, ERR_EXISTS,
                           "this key can log in here already, by a line of "
                           "authorized_keys that is not ours; remove that line first");
        } else {
            buf_add(out, at, len);
            buf_add_str(out, "\n");
        }
        at += len + 1;
    }
    if (line != NULL) {
        buf_add_str(out, line);
        buf_add_str(out, "\n");
    }
    return 0;
}

/* ---- the file ---- */

struct place {
    char *dir;
    char *path; /* what a link leads to */
    int lock_fd;
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

static void
close_place(struct place *p)
{
    (void)fd_close(&p->lock_fd);
    free(p->dir);
    free(p->path);
}

static int
open_place(struct place *p, struct err *e)
{
    const char *home = getenv("HOME");
    char *link;
    char *real;
    struct stat sb;

    *p = (struct place){NULL, NULL, -1, 0600, geteuid(), getegid()};
    if (home == NULL || home[0] != '/') {
        return err_set(e, ERR_INVALID, "HOME does not say where .ssh is");
    }
    p->dir = path_join(home, ".ssh");
    if (file_mkdirs(p->dir, 0700, e) != 0) {
        return -1;
    }
    p->lock_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->lock_fd == -1 || flock(p->lock_fd, LOCK_EX) != 0) {
        return err_set_sys(e, errno, "cannot lock '%s'", p->dir);
    }
    link = path_join(p->dir, "authorized_keys");
    real = realpath(link, NULL);
    if (real == NULL) {
        p->path = link;
    } else {
        p->path = xstrdup(real);
        free(real);
        free(link);
    }
    if (stat(p->path, &sb) == 0) {
        p->mode = sb.st_mode & 07777;
        p->uid = sb.st_uid;
        p->gid = sb.st_gid;
    }
    return 0;
}

static int
replace(const struct place *p, const struct buf *text, struct err *e)
{
    char *tmp = xasprintf("%s.gpurun-new", p->path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int failed = 0;

    if (fd == -1 || fd_write_all(fd, text->data, text->len) != 0 ||
        fchown(fd, p->uid, p->gid) != 0 || fchmod(fd, p->mode) != 0 || fsync(fd) != 0) {
        failed = errno;
    }
    if (fd_close(&fd) != 0 && failed == 0) {
        failed = errno;
    }
    if (failed == 0 && rename(tmp, p->path) != 0) {
        failed = errno;
    }
    if (failed != 0) {
        (void)unlink(tmp);
        free(tmp);
        return err_set_sys(e, failed, "cannot write '%s'; it is as it was", p->path);
    }
    free(tmp);
    return file_sync_dir(p->dir, e);
}

static int
change(const char *words, const char *id, const char *blob, const char *line, int *n,
       struct err *e)
{
    struct place p;
    struct buf was = BUF_INIT;
    struct buf now = BUF_INIT;
    struct err why;
    int rc = -1;

    if (open_place(&p, e) != 0) {
        goto out;
    }
    if (file_read(p.path, FILE_MAX, &was, &why) != 0 && why.code != ERR_NOT_FOUND) {
        *e = why;
        goto out;
    }
    if (authkeys_edit(&was, words, id, blob, line, &now, n, e) != 0) {
        goto out;
    }
    rc = line == NULL && *n == 0 ? 0 : replace(&p, &now, e);

out:
    buf_free(&was);
    buf_free(&now);
    close_place(&p);
    return rc;
}

int
authkeys_allow(const struct authkey *k, const char *command, const char *words,
               int64_t until_wall_ns, const char *label, struct err *e)
{
    struct buf line = BUF_INIT;
    int n;
    int rc;

    if (strpbrk(command, "\"\\\n") != NULL) {
        return err_set(e, ERR_INVALID, "the path of this program holds quotes: move it");
    }
    buf_add_str(&line, "restrict,");
    if (until_wall_ns != 0) {
        time_t at = (time_t)(until_wall_ns / NS_PER_S);
        struct tm tm;

        (void)gmtime_r(&at, &tm);
        buf_printf(&line, "expiry-time=\"%04d%02d%02d%02d%02dZ\",", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
    }
    buf_printf(&line, "command=\"%s %s %s\" %s %s gpurun:%s", command, words, k->id,
               k->type, k->blob, label);
    rc = change(words, k->id, k->blob, buf_str(&line), &n, e);
    buf_free(&line);
    return rc;
}

int
authkeys_revoke(const char *words, const char *id, int *n, struct err *e)
{
    return change(words, id, NULL, NULL, n, e);
}
