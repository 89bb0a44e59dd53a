#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lang.h"
#include "runner/client/ssh_config_internal.h"

struct copier {
    struct ssh_config_copy *out;
    const char *home;
    const char *dir; /* what relative Includes count from */
    bool users;
    int depth;
};

/* Keywords whose values are paths that ssh expands against the passwd entry's home. */
static bool
is_path_keyword(const char *word)
{
    static const char *const words[] = {
        "identityfile",         "certificatefile", "userknownhostsfile",
        "globalknownhostsfile", "identityagent",   "revokedhostkeys",
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(words[i], word) == 0) {
            return true;
        }
    }
    return false;
}

int
ssh_memory_file(const char *name, const void *data, size_t len, int mode, int *out,
                char path[SSH_MEMORY_PATH_MAX], struct err *e)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    int read_only = -1;

    if (fd == -1) {
        return err_set_sys(e, errno, "memfd_create");
    }
    if (fchmod(fd, (mode_t)mode) == -1 || fd_write_all(fd, data, len) == -1) {
        goto fail;
    }
    /* What is open for writing cannot be executed (ETXTBSY). */
    (void)snprintf(path, SSH_MEMORY_PATH_MAX, "/proc/self/fd/%d", fd);
    read_only = open(path, O_RDONLY | O_CLOEXEC);
    if (read_only == -1) {
        goto fail;
    }
    (void)fd_close(&fd);
    (void)snprintf(path, SSH_MEMORY_PATH_MAX, "/proc/%d/fd/%d", (int)getpid(), read_only);
    *out = read_only;
    return 0;

fail:
    (void)err_set_sys(e, errno, _("cannot keep a file in memory"));
    (void)fd_close(&fd);
    return -1;
}

static int
keep(struct copier *c, const struct buf *text, char path[SSH_MEMORY_PATH_MAX],
     struct err *e)
{
    int fd;

    if (c->out->n == SSH_CONFIG_FILES_MAX) {
        return err_set(e, ERR_INVALID, _("ssh_config: too many Includes"));
    }
    if (ssh_memory_file("ssh_config", buf_str(text), text->len, 0600, &fd, path, e) !=
        0) {
        return -1;
    }
    c->out->fds[c->out->n++] = fd;
    return 0;
}

static int copy_file(struct copier *from, const char *file, struct buf *to,
                     struct err *e);

static int
copy_include(struct copier *c, const struct ssh_words *w, struct buf *to, struct err *e)
{
    int rc = 0;

    for (size_t i = 1; i < w->n && rc == 0; i++) {
        char *path = ssh_include_path(w->v[i], c->home, c->dir);
        glob_t g;

        if (glob(path, 0, NULL, &g) == 0) {
            for (size_t j = 0; j < g.gl_pathc && rc == 0; j++) {
                rc = copy_file(c, g.gl_pathv[j], to, e);
            }
            globfree(&g);
        }
        free(path);
    }
    return rc;
}

static int
copy_line(struct copier *c, const char *line, size_t len, struct buf *to, struct err *e)
{
    struct ssh_words w;
    int rc = 0;

    if (ssh_words_split(line, len, &w, e) != 0) {
        return -1;
    }
    if (w.n > 0 && strcasecmp(w.v[0], "include") == 0) {
        rc = copy_include(c, &w, to, e);
    } else if (w.n > 0 && is_path_keyword(w.v[0])) {
        buf_add_str(to, w.v[0]);
        for (size_t i = 1; i < w.n; i++) {
            char *v = ssh_word_at_home(w.v[i], c->home);

            buf_add_u8(to, ' ');
            ssh_word_quote(to, v);
            free(v);
        }
    } else {
        buf_add(to, line, len);
    }
    buf_add_u8(to, '\n');
    ssh_words_free(&w);
    return rc;
}

static int
copy_text(struct copier *c, const char *text, size_t len, struct buf *to, struct err *e)
{
    while (len > 0) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl == NULL ? len : (size_t)(nl - text);

        if (copy_line(c, text, n, to, e) != 0) {
            return -1;
        }
        text += nl == NULL ? n : n + 1;
        len -= nl == NULL ? n : n + 1;
    }
    return 0;
}

/* Copy one file and append the Include that names the copy. */
static int
copy_file(struct copier *from, const char *file, struct buf *to, struct err *e)
{
    struct copier c = *from;
    struct buf text = BUF_INIT;
    struct buf copied = BUF_INIT;
    char path[SSH_MEMORY_PATH_MAX];
    int rc = -1;

    if (++c.depth > SSH_CONFIG_DEPTH_MAX) {
        return err_set(e, ERR_INVALID, _("%s: too many Includes"), file);
    }
    if (ssh_config_read_file(file, c.users, &text, e) == 0 &&
        copy_text(&c, buf_str(&text), text.len, &copied, e) == 0 &&
        keep(&c, &copied, path, e) == 0) {
        buf_printf(to, "Include %s\n", path);
        rc = 0;
    }
    buf_free(&text);
    buf_free(&copied);
    return rc;
}

int
ssh_config_copy_make(const char *head, const char *home, const char *user_file,
                     const char *system_file, const char *tail,
                     struct ssh_config_copy *out, struct err *e)
{
    char *ssh_dir = xasprintf("%s/.ssh", home);
    struct copier users = {.out = out, .home = home, .dir = ssh_dir, .users = true};
    struct copier systems = {.out = out, .home = home, .dir = "/etc/ssh"};
    struct buf b = BUF_INIT;
    int rc = -1;

    out->n = 0;
    buf_add_str(&b, head);
    if ((user_file == NULL || copy_file(&users, user_file, &b, e) == 0) &&
        (system_file == NULL || copy_file(&systems, system_file, &b, e) == 0)) {
        buf_printf(&b, "Match all\n%s", tail);
        rc = keep(&users, &b, out->path, e);
    }
    if (rc != 0) {
        ssh_config_copy_free(out);
    }
    buf_free(&b);
    free(ssh_dir);
    return rc;
}

void
ssh_config_copy_free(struct ssh_config_copy *c)
{
    for (size_t i = 0; i < c->n; i++) {
        (void)fd_close(&c->fds[i]);
    }
    c->n = 0;
}
