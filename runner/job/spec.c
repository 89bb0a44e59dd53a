#include "runner/job/spec.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "runner/job/notify.h"

/* Text fields, all alike but for their name and length. */
struct text_field {
    const char *key;
    size_t offset;
    size_t max_bytes;
};

static const struct text_field text_fields[] = {
    {"name", offsetof(struct job_spec, name), JOB_NAME_MAX},
    {"title", offsetof(struct job_spec, title), SPEC_TITLE_MAX},
    {"cwd", offsetof(struct job_spec, cwd), SPEC_PATH_MAX},
    {"class", offsetof(struct job_spec, device_class), SPEC_WORD_MAX},
    {"type", offsetof(struct job_spec, device_type), SPEC_WORD_MAX},
    {"term", offsetof(struct job_spec, term), SPEC_WORD_MAX},
    {"python", offsetof(struct job_spec, python), SPEC_PATH_MAX},
    {"conda", offsetof(struct job_spec, conda), SPEC_PATH_MAX},
    {"venv", offsetof(struct job_spec, venv), SPEC_PATH_MAX},
    {"setup", offsetof(struct job_spec, setup), SPEC_STRING_MAX},
    {"setup_key", offsetof(struct job_spec, setup_key), SHA256_HEX_LEN},
    {"notify_host", offsetof(struct job_spec, notify_host), NOTIFY_COMMAND_MAX},
    {"client_host", offsetof(struct job_spec, client_host), SPEC_WORD_MAX},
    {"client_dir", offsetof(struct job_spec, client_dir), SPEC_PATH_MAX},
};
#define N_TEXT_FIELDS (sizeof text_fields / sizeof text_fields[0])

struct int_field {
    const char *key;
    size_t offset;
    int64_t min;
    int64_t max;
    int64_t dflt;
};

static const struct int_field int_fields[] = {
    {"count", offsetof(struct job_spec, count), 1, SPEC_COUNT_MAX, 1},
    {"max_time_s", offsetof(struct job_spec, max_time_s), 1, SPEC_TIME_MAX_S,
     SPEC_TIME_DFLT_S},
    {"cap_fen", offsetof(struct job_spec, cap_fen), -1, SPEC_CAP_MAX_FEN, -1},
    {"window_s", offsetof(struct job_spec, window_s), 0, SPEC_WINDOW_MAX_S,
     SPEC_WINDOW_DFLT_S},
    {"idle_s", offsetof(struct job_spec, idle_s), 0, SPEC_TIME_MAX_S, 0},
    {"mem_bytes", offsetof(struct job_spec, mem_bytes), 0, INT64_MAX, 0},
    {"cols", offsetof(struct job_spec, cols), 0, 65535, 0},
    {"rows", offsetof(struct job_spec, rows), 0, 65535, 0},
    {"snap_every_s", offsetof(struct job_spec, snap_every_s), 0, SPEC_TIME_MAX_S, 0},
};
#define N_INT_FIELDS (sizeof int_fields / sizeof int_fields[0])

static const char *const kind_names[] = {
    [SPEC_KIND_EXEC] = "exec", [SPEC_KIND_PYTHON] = "python", [SPEC_KIND_SH] = "sh"};
static const char *const stdin_names[] = {
    [SPEC_STDIN_NULL] = "null", [SPEC_STDIN_OPEN] = "open"};

/* Fields that are in neither table. */
static const char *const other_keys[] = {"job", "renter", "arg",  "kind",
                                         "env", "secret", "tree", "from",
                                         "tty", "stdin",  "data"};

void
strings_add(struct strings *s, const char *value)
{
    s->v = xrealloc(s->v, (s->n + 1) * sizeof *s->v);
    s->v[s->n++] = xstrdup(value);
}

void
strings_add_all(struct strings *s, const struct strings *from)
{
    for (size_t i = 0; i < from->n; i++) {
        strings_add(s, from->v[i]);
    }
}

bool
strings_has(const struct strings *s, const char *value)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->v[i], value) == 0) {
            return true;
        }
    }
    return false;
}

void
strings_add_once(struct strings *s, const char *value)
{
    if (!strings_has(s, value)) {
        strings_add(s, value);
    }
}

void
strings_free(struct strings *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i]);
    }
    free(s->v);
    *s = (struct strings){NULL, 0};
}

static char **
text_at(struct job_spec *s, size_t i)
{
    return (char **)((char *)s + text_fields[i].offset);
}

static const char *
text_of(const struct job_spec *s, size_t i)
{
    return *(char *const *)((const char *)s + text_fields[i].offset);
}

static int64_t *
int_at(struct job_spec *s, size_t i)
{
    return (int64_t *)((char *)s + int_fields[i].offset);
}

static int64_t
int_of(const struct job_spec *s, size_t i)
{
    return *(const int64_t *)((const char *)s + int_fields[i].offset);
}

void
spec_init(struct job_spec *s)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < N_INT_FIELDS; i++) {
        *int_at(s, i) = int_fields[i].dflt;
    }
    s->kind = SPEC_KIND_EXEC;
    s->stdin_mode = SPEC_STDIN_NULL;
}

void
spec_free(struct job_spec *s)
{
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        free(*text_at(s, i));
    }
    strings_free(&s->args);
    strings_free(&s->env);
    strings_free(&s->secrets);
    strings_free(&s->data);
    spec_init(s);
}

static void
add_strings(struct rec *r, const char *key, const struct strings *s)
{
    for (size_t i = 0; i < s->n; i++) {
        rec_add(r, key, s->v[i]);
    }
}

struct rec *
spec_encode(const struct job_spec *s)
{
    struct rec *r = rec_new(SPEC_TYPE);

    rec_add(r, "job", s->job);
    rec_add(r, "renter", s->renter);
    rec_add(r, "kind", kind_names[s->kind]);
    rec_add(r, "stdin", stdin_names[s->stdin_mode]);
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        if (text_of(s, i) != NULL) {
            rec_add(r, text_fields[i].key, text_of(s, i));
        }
    }
    for (size_t i = 0; i < N_INT_FIELDS; i++) {
        rec_add_int(r, int_fields[i].key, int_of(s, i));
    }
    add_strings(r, "arg", &s->args);
    add_strings(r, "env", &s->env);
    add_strings(r, "secret", &s->secrets);
    add_strings(r, "data", &s->data);
    if (s->has_tree) {
        rec_add_hex(r, "tree", s->tree.b, sizeof s->tree.b);
    }
    if (s->from[0] != '\0') {
        rec_add(r, "from", s->from);
    }
    if (s->tty) {
        rec_add_int(r, "tty", 1);
    }
    return r;
}

static bool
key_is_known(const char *key)
{
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        if (strcmp(key, text_fields[i].key) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < N_INT_FIELDS; i++) {
        if (strcmp(key, int_fields[i].key) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof other_keys / sizeof other_keys[0]; i++) {
        if (strcmp(key, other_keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool
key_repeats(const char *key)
{
    return strcmp(key, "arg") == 0 || strcmp(key, "env") == 0 ||
           strcmp(key, "secret") == 0 || strcmp(key, "data") == 0;
}

static int
check_keys(const struct rec *r, struct err *e)
{
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        const char *value;
        size_t len;
        const char *key = rec_field(r, i, &value, &len);

        if (!key_is_known(key)) {
            return err_set(e, ERR_VERSION,
                           "the job asks for '%s', which this version does not know",
                           key);
        }
        if (!key_repeats(key) && rec_count(r, key) != 1) {
            return err_set(e, ERR_INVALID, "the job's field '%s' is given twice", key);
        }
        if (memchr(value, '\0', len) != NULL) {
            return err_set(e, ERR_INVALID, "the job's field '%s' holds a NUL", key);
        }
    }
    return 0;
}

static int
parse_texts(struct job_spec *s, const struct rec *r, struct err *e)
{
    for (size_t i = 0; i < N_TEXT_FIELDS; i++) {
        size_t len;
        const char *v = rec_get_bytes(r, text_fields[i].key, &len);

        if (v == NULL) {
            continue;
        }
        if (len > text_fields[i].max_bytes) {
            return err_set(e, ERR_RANGE, "the job's field '%s' is longer than %zu bytes",
                           text_fields[i].key, text_fields[i].max_bytes);
        }
        *text_at(s, i) = xstrdup(v);
    }
    return 0;
}

static int
parse_ints(struct job_spec *s, const struct rec *r, struct err *e)
{
    int64_t tty;

    for (size_t i = 0; i < N_INT_FIELDS; i++) {
        const struct int_field *f = &int_fields[i];

        if (rec_opt_int(r, f->key, f->min, f->max, f->dflt, int_at(s, i), e) != 0) {
            return -1;
        }
    }
    if (rec_opt_int(r, "tty", 0, 1, 0, &tty, e) != 0) {
        return -1;
    }
    s->tty = tty == 1;
    return 0;
}

static int
parse_list(struct strings *to, const struct rec *r, const char *key, size_t max,
           struct err *e)
{
    size_t n = rec_count(r, key);

    if (n > max) {
        return err_set(e, ERR_RANGE, "the job has more than %zu of '%s'", max, key);
    }
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *v = rec_get_nth(r, key, i, &len);

        if (len >= SPEC_STRING_MAX) {
            return err_set(e, ERR_RANGE, "a value of '%s' is longer than %zu bytes", key,
                           SPEC_STRING_MAX - 1);
        }
        strings_add(to, v);
    }
    return 0;
}

static int
parse_words(struct job_spec *s, const struct rec *r, struct err *e)
{
    const char *kind;
    const char *mode;

    if (rec_need_str(r, "kind", &kind, e) != 0 ||
        rec_need_str(r, "stdin", &mode, e) != 0) {
        return -1;
    }
    s->kind = SPEC_KIND_NONE;
    for (size_t i = 1; i < sizeof kind_names / sizeof kind_names[0]; i++) {
        if (strcmp(kind, kind_names[i]) == 0) {
            s->kind = (enum spec_kind)i;
        }
    }
    s->stdin_mode = SPEC_STDIN_NONE;
    for (size_t i = 1; i < sizeof stdin_names / sizeof stdin_names[0]; i++) {
        if (strcmp(mode, stdin_names[i]) == 0) {
            s->stdin_mode = (enum spec_stdin)i;
        }
    }
    if (s->kind == SPEC_KIND_NONE || s->stdin_mode == SPEC_STDIN_NONE) {
        return err_set(e, ERR_VERSION, "the job's kind or stdin is not known here");
    }
    return 0;
}

static int
parse_ids(struct job_spec *s, const struct rec *r, struct err *e)
{
    const char *job;
    const char *renter;
    const char *from = rec_get(r, "from");

    if (rec_need_str(r, "job", &job, e) != 0 || id_check(ID_JOB, job, e) != 0 ||
        rec_need_str(r, "renter", &renter, e) != 0 || id_check_renter(renter, e) != 0) {
        return -1;
    }
    if (from != NULL && id_check(ID_SNAPSHOT, from, e) != 0) {
        return -1;
    }
    memcpy(s->job, job, JOB_ID_LEN + 1);
    memcpy(s->renter, renter, SIGN_ID_LEN + 1);
    if (from != NULL) {
        memcpy(s->from, from, JOB_ID_LEN + 1);
    }
    if (rec_has(r, "tree")) {
        s->has_tree = true;
        return rec_need_hex(r, "tree", s->tree.b, sizeof s->tree.b, e);
    }
    return 0;
}

/* A relative path that stays inside: no "..", no leading slash. */
static int
check_inside(const char *what, const char *path, struct err *e)
{
    const char *p = path;

    if (path[0] == '/') {
        return err_set(e, ERR_INVALID, "the job's %s is not relative", what);
    }
    while (*p != '\0') {
        size_t n = strcspn(p, "/");

        if (n == 2 && memcmp(p, "..", 2) == 0) {
            return err_set(e, ERR_INVALID, "the job's %s leaves its directory", what);
        }
        p += n;
        p += *p == '/' ? 1 : 0;
    }
    return 0;
}

/* ---- data sets ---- */

int
data_name_check(const char *name, struct err *e)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    char shown[DATA_NAME_MAX * 4];

    if (len == 0 || len > DATA_NAME_MAX || strspn(name, letters) != len ||
        strchr("._-", name[0]) != NULL) {
        return err_set(e, ERR_INVALID,
                       "'%s' is no name for a data set: 1 to %d letters, digits, dots, "
                       "dashes and underscores, the first a letter or digit",
                       text_escape_to(shown, sizeof shown, name), DATA_NAME_MAX);
    }
    return 0;
}

char *
spec_data_format(const struct sha256 *tree, const char *name, const char *path)
{
    char hex[SHA256_HEX_LEN + 1];

    sha256_format(tree, hex);
    return xasprintf("%s %s %s", hex, name, path);
}

int
spec_data_parse(struct spec_data *out, const char *text, struct err *e)
{
    struct spec_data d;
    size_t n;

    if (strlen(text) < SHA256_HEX_LEN + 2 || text[SHA256_HEX_LEN] != ' ' ||
        !hex_parse(text, SHA256_HEX_LEN, d.tree.b, sizeof d.tree.b)) {
        return err_set(e, ERR_INVALID, "a data set of the job names no tree");
    }
    text += SHA256_HEX_LEN + 1;
    n = strcspn(text, " ");
    if (n > DATA_NAME_MAX || text[n] != ' ' || text[n + 1] == '\0') {
        return err_set(e, ERR_INVALID, "a data set of the job has no name or path");
    }
    memcpy(d.name, text, n);
    d.name[n] = '\0';
    d.path = text + n + 1;
    if (data_name_check(d.name, e) != 0 || check_inside("data path", d.path, e) != 0) {
        return -1;
    }
    if (strlen(d.path) > SPEC_PATH_MAX) {
        return err_set(e, ERR_RANGE, "the path of data set '%s' is too long", d.name);
    }
    *out = d;
    return 0;
}

/* b is a, or lies beneath it. */
static bool
is_beneath(const char *a, const char *b)
{
    size_t n = strlen(a);

    return strncmp(a, b, n) == 0 && (b[n] == '\0' || b[n] == '/');
}

static int
check_data(const struct job_spec *s, struct err *e)
{
    struct spec_data d;
    struct spec_data o;

    for (size_t i = 0; i < s->data.n; i++) {
        if (spec_data_parse(&d, s->data.v[i], e) != 0) {
            return -1;
        }
        for (size_t k = 0; k < i; k++) {
            if (spec_data_parse(&o, s->data.v[k], e) != 0) {
                return -1;
            }
            if (is_beneath(o.path, d.path) || is_beneath(d.path, o.path)) {
                return err_set(e, ERR_INVALID,
                               "two data sets lie in each other: '%s' and '%s'", o.path,
                               d.path);
            }
        }
    }
    return 0;
}

static int
check_setup(const struct job_spec *s, struct err *e)
{
    uint8_t key[SHA256_LEN];

    if ((s->setup == NULL) != (s->setup_key == NULL) ||
        (s->setup != NULL &&
         (s->setup[0] == '\0' ||
          !hex_parse(s->setup_key, strlen(s->setup_key), key, sizeof key)))) {
        return err_set(e, ERR_INVALID, "the job's set-up has no command or no key");
    }
    return 0;
}

static int
check_whole(const struct job_spec *s, struct err *e)
{
    if (s->name == NULL || s->device_class == NULL || s->device_type == NULL) {
        return err_set(e, ERR_INVALID, "the job has no name, class or type");
    }
    if (job_name_check(s->name, e) != 0) {
        return -1;
    }
    if (s->args.n == 0 || s->args.v[0][0] == '\0') {
        return err_set(e, ERR_INVALID, "the job has no command");
    }
    if ((s->python != NULL) + (s->conda != NULL) + (s->venv != NULL) > 1) {
        return err_set(e, ERR_INVALID,
                       "at most one of python, conda and venv can be asked for");
    }
    if (check_setup(s, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < s->env.n; i++) {
        const char *eq = strchr(s->env.v[i], '=');

        if (eq == NULL || eq == s->env.v[i]) {
            return err_set(e, ERR_INVALID, "a variable of the job is not of form K=V");
        }
    }
    for (size_t i = 0; i < s->secrets.n; i++) {
        if (s->secrets.v[i][0] == '\0' || strchr(s->secrets.v[i], '=') != NULL) {
            return err_set(e, ERR_INVALID, "a secret of the job has no proper name");
        }
    }
    return s->cwd == NULL ? 0 : check_inside("cwd", s->cwd, e);
}

int
spec_parse(struct job_spec *out, const struct rec *r, struct err *e)
{
    struct job_spec s;
    int rc = -1;

    spec_init(&s);
    if (strcmp(rec_type(r), SPEC_TYPE) != 0) {
        err_set(e, ERR_VERSION, "this is not a job specification this version knows");
        goto out;
    }
    if (check_keys(r, e) != 0 || parse_ids(&s, r, e) != 0 || parse_texts(&s, r, e) != 0 ||
        parse_ints(&s, r, e) != 0 || parse_words(&s, r, e) != 0 ||
        parse_list(&s.args, r, "arg", SPEC_ARGS_MAX, e) != 0 ||
        parse_list(&s.env, r, "env", SPEC_ENV_MAX, e) != 0 ||
        parse_list(&s.secrets, r, "secret", SPEC_ENV_MAX, e) != 0 ||
        parse_list(&s.data, r, "data", SPEC_DATA_MAX, e) != 0 || check_data(&s, e) != 0 ||
        check_whole(&s, e) != 0) {
        goto out;
    }
    if (s.cwd == NULL) {
        s.cwd = xstrdup("");
    }
    *out = s;
    spec_init(&s);
    rc = 0;

out:
    spec_free(&s);
    return rc;
}
