#include "runner/cli/setupkey.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/setupwords.h"
#include "storage/scan.h"

#define LIST_MAX   ((off_t)4 << 20)  /* of a file that lists things */
#define WHOLE_MAX  ((off_t)64 << 20) /* in a directory: hashed whole */
#define PIECE      ((size_t)256 * 1024)
#define NESTED_MAX 32
#define DIRS_MAX   64

struct keying {
    const struct setupkey_options *o;
    struct sha256_ctx *h;
    struct strings places; /* where words may lead from, relative to the root */
    struct strings files;  /* counted already */
    struct strings dirs;   /* to be counted in the end */
    int nested;
    bool installed; /* the list that is read now is one of what to install */
};

static void
add_text(struct sha256_ctx *h, const char *text)
{
    sha256_update(h, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
    sha256_update(h, "", 1);
}

/* ---- paths ---- */

static void
drop_last(struct buf *b)
{
    const char *slash = memrchr(b->data, '/', b->len);

    b->len = slash == NULL ? 0 : (size_t)(slash - (const char *)b->data);
    if (b->data != NULL) {
        b->data[b->len] = '\0';
    }
}

/* What leads out of the root does not come along. */
char *
setupkey_within(const char *place, const char *word)
{
    char *whole = path_join(place, word);
    struct buf b = BUF_INIT;
    bool ok = word[0] != '/' && word[0] != '~' && word[0] != '\0';
    char *rest = whole;
    char *part;

    while (ok && (part = strsep(&rest, "/")) != NULL) {
        if (strcmp(part, "..") == 0) {
            ok = b.len > 0;
            if (ok) {
                drop_last(&b);
            }
        } else if (part[0] != '\0' && strcmp(part, ".") != 0) {
            buf_printf(&b, "%s%s", b.len > 0 ? "/" : "", part);
        }
    }
    free(whole);
    if (!ok) {
        buf_free(&b);
        return NULL;
    }
    return buf_steal(&b);
}

int
setupkey_find(const struct setupkey_options *o, const char *path, char **out,
              struct err *e)
{
    char *shipped = o->root == NULL ? NULL : path_join(o->root, path);

    if (shipped != NULL && file_exists(shipped)) {
        *out = shipped;
        return 0;
    }
    free(shipped);
    *out = NULL;
    return o->under == NULL ? 0 : setupview_find(o->under, path, out, e);
}

/* A file whose words name further files. */
static bool
lists_things(const char *path)
{
    static const char *const ends[] = {".txt", ".in", ".yml", ".yaml"};

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (text_ends_with(path, ends[i])) {
            return true;
        }
    }
    return false;
}

/* ---- counting ---- */

static int
hash_content(struct sha256_ctx *h, int fd, const char *path, struct err *e)
{
    uint8_t *piece = xmalloc(PIECE);
    int rc = 0;
    ssize_t n;

    while ((n = fd_read_full(fd, piece, PIECE)) > 0) {
        sha256_update(h, piece, (size_t)n);
    }
    if (n < 0) {
        rc = err_set_sys(e, errno, "--setup: cannot read '%s'", path);
    }
    free(piece);
    return rc;
}

/* Name and content, each told apart from what follows. */
static int
count_file(struct keying *k, const char *path, int fd, struct err *e)
{
    struct sha256_ctx *h = sha256_new();
    struct sha256 sum;
    int rc = hash_content(h, fd, path, e);

    sha256_final(h, &sum);
    sha256_free(h);
    add_text(k->h, path);
    sha256_update(k->h, sum.b, sizeof sum.b);
    return rc;
}

/* A pipe of that name neither holds us up nor is read. -1: it is no file. */
static int
open_file(const char *full, struct stat *st)
{
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd != -1 && (fstat(fd, st) != 0 || !S_ISREG(st->st_mode))) {
        (void)fd_close(&fd);
    }
    return fd;
}

static int look_at_text(struct keying *k, const char *name, const void *text, size_t len,
                        struct err *e) MUST_USE;

/* What a file that lists things names: also from where it lies itself. */
static int
read_list(struct keying *k, const char *path, const char *full, struct err *e)
{
    struct buf dir = BUF_INIT;
    struct buf b = BUF_INIT;
    size_t n_places = k->places.n;
    int rc = file_read(full, (size_t)LIST_MAX, &b, e);

    buf_add_str(&dir, path);
    drop_last(&dir);
    if (rc == 0) {
        if (n_places < DIRS_MAX) {
            strings_add(&k->places, buf_str(&dir));
        }
        rc = look_at_text(k, path, b.data, b.len, e);
    }
    while (k->places.n > n_places) {
        free(k->places.v[--k->places.n]);
    }
    buf_free(&dir);
    buf_free(&b);
    return rc;
}

/* path is a file: count it, and what it names where it is one that lists things. */
static int
take_file(struct keying *k, const char *path, const char *full, bool is_list,
          struct err *e)
{
    struct stat st;
    int fd = open_file(full, &st);
    int rc = 0;

    if (fd == -1 || strings_has(&k->files, path)) {
        (void)fd_close(&fd);
        return 0;
    }
    if (k->files.n >= SETUPKEY_FILES_MAX) {
        rc = err_set(e, ERR_RANGE, _("--setup: it names more than %d files"),
                     SETUPKEY_FILES_MAX);
    } else {
        strings_add(&k->files, path);
        rc = count_file(k, path, fd, e);
    }
    (void)fd_close(&fd);
    if (rc == 0 && (is_list || lists_things(path)) && st.st_size <= LIST_MAX &&
        k->nested < NESTED_MAX) {
        bool was = k->installed;

        k->installed =
            is_list || text_ends_with(path, ".yml") || text_ends_with(path, ".yaml");
        k->nested++;
        rc = read_list(k, path, full, e);
        k->nested--;
        k->installed = was;
    }
    return rc;
}

/* ---- directories ---- */

static bool
is_wanted(const struct keying *k, const char *path)
{
    for (size_t i = 0; i < k->dirs.n; i++) {
        const char *dir = k->dirs.v[i];
        size_t n = strlen(dir);

        if (n == 0 || (strncmp(path, dir, n) == 0 && path[n] == '/')) {
            return true;
        }
    }
    return false;
}

/* What stands for a content. */
static void
count_looks(struct keying *k, const char *path, uint64_t size, int64_t mtime_ns)
{
    char *text = xasprintf("%s %" PRIu64 " %" PRId64, path, size, mtime_ns);

    add_text(k->h, text);
    free(text);
}

static int
count_entry(struct keying *k, const struct scan_entry *s, struct err *e)
{
    struct stat st;
    char *full;
    int fd;
    int rc = 0;

    if (s->type == TREE_DIR || !is_wanted(k, s->path) ||
        strings_has(&k->files, s->path)) {
        return 0;
    }
    full = path_join(k->o->root, s->path);
    fd = open_file(full, &st);
    free(full);
    if (fd == -1 || st.st_size > WHOLE_MAX) {
        count_looks(k, s->path, s->size, s->mtime_ns);
    } else {
        rc = count_file(k, s->path, fd, e);
    }
    (void)fd_close(&fd);
    return rc;
}

static int
count_shipped(struct keying *k, struct err *e)
{
    struct scan_options so = {.allow_home = true,
                              .with_git = k->o->with_git,
                              .with = (const char *const *)k->o->with->v,
                              .n_with = k->o->with->n,
                              .n_threads = 1};
    int root = open(k->o->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct scan_entry *entry = NULL;
    struct scan *s = NULL;
    size_t n = 0;
    int rc = -1;

    if (root == -1) {
        err_set_sys(e, errno, "cannot open '%s'", k->o->root);
        goto out;
    }
    if (scan_open(&s, root, &so, e) != 0) {
        goto out;
    }
    while ((rc = scan_next(s, &entry, e)) == 0 && entry != NULL) {
        rc = count_entry(k, entry, e);
        if (rc == 0 && ++n > SETUPKEY_FILES_MAX * 10) {
            rc = err_set(e, ERR_RANGE,
                         _("--setup: a directory that it names holds too much; name "
                           "the files"));
        }
        if (rc != 0) {
            break;
        }
    }

out:
    scan_close(s);
    (void)fd_close(&root);
    return rc;
}

/* Nothing is shipped: what the snapshot has there. */
static void
count_kept(struct keying *k)
{
    const struct setupview_entry *en;

    for (size_t i = 0; (en = setupview_entry(k->o->under, i)) != NULL; i++) {
        if (!en->is_dir && is_wanted(k, en->path) && !strings_has(&k->files, en->path)) {
            count_looks(k, en->path, en->size, en->mtime_ns);
        }
    }
}

static int
count_dirs(struct keying *k, struct err *e)
{
    if (k->o->root != NULL) {
        return count_shipped(k, e);
    }
    count_kept(k);
    return 0;
}

/* ---- words ---- */

/* "." and "./pkg" are paths to pip, "torch" is a package though a folder is called so. */
static bool
is_written_as_path(const char *word)
{
    return word[0] == '.' || strchr(word, '/') != NULL;
}

static int
take_word(struct keying *k, const char *word, bool is_list, bool dirs_too, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < k->places.n && rc == 0; i++) {
        char *path = setupkey_within(k->places.v[i], word);
        char *full = NULL;
        struct stat st;

        if (path != NULL) {
            rc = setupkey_find(k->o, path, &full, e);
        }
        if (full == NULL || stat(full, &st) != 0) {
            /* nothing of ours */
        } else if (S_ISREG(st.st_mode)) {
            rc = take_file(k, path, full, is_list, e);
        } else if (S_ISDIR(st.st_mode) && dirs_too && is_written_as_path(word)) {
            strings_add_once(&k->dirs, path);
        }
        free(path);
        free(full);
    }
    return rc;
}

/* ".[dev]" is the directory ".", "file:./x" and "file://./x" are "./x". */
static char *
bare(const char *word)
{
    static const char *const before[] = {"file://", "file:"};

    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        if (strncmp(word, before[i], strlen(before[i])) == 0) {
            word += strlen(before[i]);
        }
    }
    return xasprintf("%.*s", (int)strcspn(word, "["), word);
}

/* A word and what may stand in it. */
static int
take_forms(struct keying *k, const char *word, bool is_list, struct err *e)
{
    const char *equals = strchr(word, '=');
    char *plain = bare(word);
    int rc = take_word(k, word, is_list, true, e);

    if (rc == 0 && strcmp(plain, word) != 0) {
        rc = take_word(k, plain, is_list, true, e);
    }
    if (rc == 0 && equals != NULL) {
        char *value = bare(equals + 1);

        rc = take_word(k, value,
                       strncmp(word, "--re", 4) == 0 || strncmp(word, "--co", 4) == 0,
                       true, e);
        free(value);
    }
    if (rc == 0 && word[0] == '-' && word[1] != '-' && word[1] != '\0' &&
        strchr("rcf", word[1]) != NULL && word[2] != '\0') {
        rc = take_word(k, word + 2, word[1] != 'f', true, e);
    }
    free(plain);
    return rc;
}

/* "x @ ./y" in quotes is a word, and so are those in it. */
static int
take_each(struct keying *k, const char *word, bool is_list, struct err *e)
{
    struct setup_words inner = {NULL, 0};
    int rc = take_forms(k, word, is_list, e);

    if (strpbrk(word, " \t\n") != NULL) {
        setupwords_split(&inner, word, strlen(word));
    }
    for (size_t i = 0; i < inner.n && rc == 0; i++) {
        rc = take_forms(k, inner.v[i].text, false, e);
    }
    setupwords_free(&inner);
    return rc;
}

static bool
is_option(const char *word, const char *brief, const char *full)
{
    return strcmp(word, brief) == 0 || strcmp(word, full) == 0;
}

/* The directory of an editable install, in this word or the next; "": there is none. */
static const char *
editable(const char *word, const char *next)
{
    if (is_option(word, "-e", "--editable")) {
        return next;
    }
    if (strncmp(word, "--editable=", 11) == 0) {
        return word + 11;
    }
    return strncmp(word, "-e.", 3) == 0 || strncmp(word, "-e/", 3) == 0 ? word + 2 : "";
}

/*
 * One of what is shipped. What a version control has is cloned into the layer, and an
 * absolute path is the host's: these links lead somewhere.
 */
static bool
is_shipped(const char *target)
{
    char *plain = bare(target);
    bool yes = plain[0] != '\0' && strchr("/~$", plain[0]) == NULL &&
               strstr(plain, "://") == NULL;

    free(plain);
    return yes;
}

static int
refuse_editable(const char *name, const char *target, struct err *e)
{
    char from[200];
    char shown[200];

    (void)text_escape_to(from, sizeof from, name == NULL ? "--setup" : name);
    (void)text_escape_to(shown, sizeof shown, target);
    return err_set(
        e, ERR_INVALID,
        _("%s: an editable install (-e %s) is a link into the directory of one "
          "job, where later ones find nothing: write '%s' without -e, which "
          "installs a copy, anew when it changes"),
        from, shown, shown);
}

/* cd: what follows leads from there, too. */
static void
go_to(struct keying *k, const char *dir)
{
    char *path = setupkey_within(k->places.v[k->places.n - 1], dir);

    if (path != NULL && k->places.n < DIRS_MAX) {
        strings_add(&k->places, path);
    }
    free(path);
}

/* A command's word, or a list's. name: of the list; NULL: it is the command. */
static int
look_at_words(struct keying *k, const char *name, const struct setup_words *w,
              struct err *e)
{
    bool installs = false;
    int rc = 0;

    for (size_t i = 0; i < w->n && rc == 0; i++) {
        const char *word = w->v[i].text;
        const char *next = i + 1 < w->n && !w->v[i + 1].first ? w->v[i + 1].text : "";
        const char *target = editable(word, next);
        bool is_list = i > 0 && (is_option(w->v[i - 1].text, "-r", "--requirement") ||
                                 is_option(w->v[i - 1].text, "-c", "--constraint"));

        installs = (name != NULL && k->installed) ||
                   (!w->v[i].first && (installs || strcmp(word, "install") == 0));
        if (installs && is_shipped(target)) {
            rc = refuse_editable(name, target, e);
        } else if (name == NULL && w->v[i].first && strcmp(word, "cd") == 0) {
            if (next[0] != '\0') {
                go_to(k, next);
                i++;
            }
        } else if (name != NULL || !w->v[i].first || strcmp(word, ".") != 0) {
            rc = take_each(k, word, is_list, e);
        }
    }
    return rc;
}

static int
look_at_text(struct keying *k, const char *name, const void *text, size_t len,
             struct err *e)
{
    struct setup_words words = {NULL, 0};
    struct setup_words runs = {NULL, 0};
    int rc;

    setupwords_split(&words, text, len);
    rc = look_at_words(k, name, &words, e);
    setupwords_runs(&runs, text, len);
    for (size_t i = 0; i < runs.n && rc == 0; i++) {
        rc = take_word(k, runs.v[i].text, false, false, e);
    }
    setupwords_free(&words);
    setupwords_free(&runs);
    return rc;
}

int
setupkey_make(const struct setupkey_options *o, const struct job_spec *s,
              char key[SHA256_HEX_LEN + 1], struct err *e)
{
    struct keying k = {.o = o, .h = sha256_new()};
    struct sha256 sum;
    int rc;

    add_text(k.h, "gpurun.setup.v2");
    add_text(k.h, s->setup);
    add_text(k.h, s->cwd);
    add_text(k.h, s->python);
    add_text(k.h, s->conda);
    strings_add(&k.places, s->cwd);
    rc = look_at_text(&k, NULL, s->setup, strlen(s->setup), e);
    if (rc == 0 && k.dirs.n > 0) {
        rc = count_dirs(&k, e);
    }
    sha256_final(k.h, &sum);
    sha256_free(k.h);
    if (rc == 0) {
        sha256_format(&sum, key);
    }
    strings_free(&k.places);
    strings_free(&k.files);
    strings_free(&k.dirs);
    return rc;
}
