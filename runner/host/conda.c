#include "runner/host/conda.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/loginenv.h"

#define LIST_MAX  ((size_t)1 << 20) /* of a file that lists things */
#define NAMED_MAX 20                /* in an error */

struct search {
    const struct strings *env;
    struct strings roots;
    struct strings dirs;   /* that hold environments by name */
    struct strings listed; /* prefixes of single environments */
};

/* ---- collecting ---- */

/* A file that lists things: a pipe of that name is none. */
static int
read_list(const char *path, struct buf *out)
{
    struct stat st;
    struct err none;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode)
               ? file_read(path, LIST_MAX, out, &none)
               : -1;
}

static bool
has_python(const char *prefix)
{
    char *python = path_join(prefix, "bin/python");
    bool yes = access(python, X_OK) == 0;

    free(python);
    return yes;
}

static void
add_root(struct search *s, const char *root)
{
    char *meta = path_join(root, "conda-meta");
    char *envs = path_join(root, "envs");

    /* micromamba's has environments alone */
    if (file_exists(meta) || file_exists(envs)) {
        strings_add_once(&s->roots, root);
    }
    free(meta);
    free(envs);
}

/* program: ROOT/bin/conda, ROOT/condabin/conda, or a link to one. */
static void
add_root_of(struct search *s, const char *program)
{
    char real[PATH_MAX];
    char *slash;

    if (realpath(program, real) == NULL) {
        return;
    }
    for (int up = 0; up < 2; up++) {
        slash = strrchr(real, '/');
        if (slash == NULL) {
            return;
        }
        *slash = '\0';
    }
    if (real[0] != '\0') {
        add_root(s, real);
    }
}

/* Call add for each part of a list of paths. */
static void
each_in_path(struct search *s, const char *list, const char *name,
             void (*add)(struct search *s, const char *path))
{
    char *dir;

    while ((dir = env_next_dir(&list)) != NULL) {
        char *path = *name == '\0' ? xstrdup(dir) : path_join(dir, name);

        add(s, path);
        free(path);
        free(dir);
    }
}

static const char *const programs[] = {"conda", "mamba", "micromamba"};
#define N_PROGRAMS (sizeof programs / sizeof programs[0])

static void
find_roots(struct search *s, const char *home)
{
    static const char *const usual[] = {"miniconda3", "anaconda3",  "miniforge3",
                                        "mambaforge", "micromamba", "miniconda",
                                        "anaconda",   "conda"};
    const char *exe = env_get(s->env, "CONDA_EXE");
    const char *mamba = env_get(s->env, "MAMBA_ROOT_PREFIX");

    if (exe != NULL) {
        add_root_of(s, exe);
    }
    if (mamba != NULL) {
        add_root(s, mamba);
    }
    for (size_t i = 0; i < N_PROGRAMS; i++) {
        each_in_path(s, env_get(s->env, "PATH"), programs[i], add_root_of);
    }
    for (int system = 0; system < 2; system++) {
        for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
            char *root = path_join(system ? "/opt" : home, usual[i]);

            add_root(s, root);
            free(root);
        }
    }
}

static void
add_dir(struct search *s, const char *dir)
{
    strings_add_once(&s->dirs, dir);
}

/* One line of envs_dirs: a path, perhaps quoted, perhaps with a remark behind it. */
static void
add_condarc_dir(struct search *s, const char *home, char *text)
{
    size_t n;

    text += strspn(text, " \t\"'");
    n = strcspn(text, "\"'#");
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) {
        n--;
    }
    text[n] = '\0';
    if (strncmp(text, "~/", 2) == 0) {
        char *dir = path_join(home, text + 2);

        add_dir(s, dir);
        free(dir);
    } else if (text[0] == '/') {
        add_dir(s, text);
    }
}

/* The lines of a file that lists things, without their ends: malloc'ed, to be cut up. */
static char *
read_lines(const char *path)
{
    struct buf b = BUF_INIT;
    char *text = read_list(path, &b) == 0 ? buf_steal(&b) : NULL;

    buf_free(&b);
    return text;
}

static char *
next_line(char **rest)
{
    char *line = *rest == NULL ? NULL : strsep(rest, "\n");

    if (line != NULL) {
        line[strcspn(line, "\r")] = '\0';
    }
    return line;
}

/* envs_dirs (once called envs_path) of a .condarc: a list of YAML, an item to a line. */
static void
read_condarc(struct search *s, const char *home, const char *path)
{
    char *text = read_lines(path);
    char *rest = text;
    bool inside = false;
    char *line;

    while ((line = next_line(&rest)) != NULL) {
        char *item = line + strspn(line, " \t");

        if (item[0] == '-' && inside) {
            add_condarc_dir(s, home, item + 1);
        } else if (item == line && item[0] != '#' && item[0] != '\0') {
            inside = strncmp(line, "envs_dirs:", 10) == 0 ||
                     strncmp(line, "envs_path:", 10) == 0;
        }
    }
    free(text);
}

static void
read_listed(struct search *s, const char *home)
{
    char *path = path_join(home, ".conda/environments.txt");
    char *text = read_lines(path);
    char *rest = text;
    char *line;

    while ((line = next_line(&rest)) != NULL) {
        if (line[0] == '/') {
            strings_add_once(&s->listed, line);
        }
    }
    free(text);
    free(path);
}

static void
find_dirs(struct search *s, const char *home)
{
    static const char *const at_home[] = {".condarc", ".conda/.condarc",
                                          ".config/conda/.condarc"};
    char *own = path_join(home, ".conda/envs");

    each_in_path(s, env_get(s->env, "CONDA_ENVS_DIRS"), "", add_dir);
    each_in_path(s, env_get(s->env, "CONDA_ENVS_PATH"), "", add_dir);
    for (size_t i = 0; i < sizeof at_home / sizeof *at_home; i++) {
        char *path = path_join(home, at_home[i]);

        read_condarc(s, home, path);
        free(path);
    }
    read_condarc(s, home, "/etc/conda/.condarc");
    for (size_t i = 0; i < s->roots.n; i++) {
        char *condarc = path_join(s->roots.v[i], ".condarc");
        char *envs = path_join(s->roots.v[i], "envs");

        read_condarc(s, home, condarc);
        add_dir(s, envs);
        free(condarc);
        free(envs);
    }
    add_dir(s, own);
    free(own);
}

/* ---- choosing ---- */

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static char *
find_named(const struct search *s, const char *name)
{
    for (size_t i = 0; i < s->dirs.n; i++) {
        char *prefix = path_join(s->dirs.v[i], name);

        if (has_python(prefix)) {
            return prefix;
        }
        free(prefix);
    }
    for (size_t i = 0; i < s->listed.n; i++) {
        if (strcmp(base_name(s->listed.v[i]), name) == 0 && has_python(s->listed.v[i])) {
            return xstrdup(s->listed.v[i]);
        }
    }
    return NULL;
}

static void
names_in(const char *dir, struct strings *names)
{
    DIR *d = opendir(dir);
    const struct dirent *one;

    while (d != NULL && (one = readdir(d)) != NULL) {
        char *prefix = path_join(dir, one->d_name);

        if (one->d_name[0] != '.' && has_python(prefix)) {
            strings_add_once(names, one->d_name);
        }
        free(prefix);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

static void
not_there(const struct search *s, const char *name, struct err *e)
{
    struct strings names = {NULL, 0};
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < s->roots.n; i++) {
        if (has_python(s->roots.v[i])) {
            strings_add_once(&names, "base");
        }
    }
    for (size_t i = 0; i < s->dirs.n; i++) {
        names_in(s->dirs.v[i], &names);
    }
    for (size_t i = 0; i < s->listed.n; i++) {
        if (has_python(s->listed.v[i])) {
            strings_add_once(&names, base_name(s->listed.v[i]));
        }
    }
    for (size_t i = 0; i < names.n && i < NAMED_MAX; i++) {
        buf_printf(&text, "%s%s", i == 0 ? "" : ", ", names.v[i]);
    }
    if (names.n > NAMED_MAX) {
        buf_add_str(&text, ", …");
    }
    if (names.n == 0) {
        err_set(e, ERR_NOT_FOUND,
                "--conda %s: there is no conda environment on this host (looked in the "
                "login environment, ~/.condarc, ~/.conda, and the usual places)",
                name);
    } else {
        err_set(e, ERR_NOT_FOUND,
                "--conda %s: there is no such environment on this host; there are: %s",
                name, buf_str(&text));
    }
    buf_free(&text);
    strings_free(&names);
}

static const char *
home_of(const struct strings *env)
{
    const char *home = env_get(env, "HOME");

    return home == NULL || home[0] != '/' ? "/nonexistent" : home;
}

char *
conda_find(const struct strings *env, const char *name, struct err *e)
{
    struct search s = {.env = env};
    const char *home = home_of(env);
    char *found = NULL;

    find_roots(&s, home);
    find_dirs(&s, home);
    read_listed(&s, home);
    if (strcmp(name, "base") == 0) {
        for (size_t i = 0; found == NULL && i < s.roots.n; i++) {
            found = has_python(s.roots.v[i]) ? xstrdup(s.roots.v[i]) : NULL;
        }
    }
    found = found != NULL ? found : find_named(&s, name);
    if (found == NULL) {
        not_there(&s, name, e);
    }
    strings_free(&s.roots);
    strings_free(&s.dirs);
    strings_free(&s.listed);
    return found;
}

/* DIR/NAME, if that can be run. */
static char *
program_in(const char *dir, const char *name)
{
    char *path = path_join(dir, name);

    if (access(path, X_OK) == 0) {
        return path;
    }
    free(path);
    return NULL;
}

static char *
program_of_root(const char *root)
{
    static const char *const dirs[] = {"bin", "condabin"};
    char *found = NULL;

    for (size_t i = 0; found == NULL && i < N_PROGRAMS; i++) {
        for (size_t d = 0; found == NULL && d < sizeof dirs / sizeof dirs[0]; d++) {
            char *dir = path_join(root, dirs[d]);

            found = program_in(dir, programs[i]);
            free(dir);
        }
    }
    return found;
}

char *
conda_program(const struct strings *env)
{
    static const char *const named[] = {"CONDA_EXE", "MAMBA_EXE"};
    struct search s = {.env = env};
    char *found = NULL;

    for (size_t i = 0; found == NULL && i < sizeof named / sizeof named[0]; i++) {
        const char *exe = env_get(env, named[i]);

        found = exe != NULL && exe[0] == '/' ? program_in("/", exe + 1) : NULL;
    }
    for (size_t i = 0; found == NULL && i < N_PROGRAMS; i++) {
        found = env_which(env, programs[i]);
    }
    if (found == NULL) {
        find_roots(&s, home_of(env));
    }
    for (size_t i = 0; found == NULL && i < s.roots.n; i++) {
        found = program_of_root(s.roots.v[i]);
    }
    strings_free(&s.roots);
    return found;
}
