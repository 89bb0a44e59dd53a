#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/conda.h"
#include "runner/host/loginenv.h"
#include "runner/host/setups.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/venv.h"
#include "runner/host/workdirs.h"

/*
 * What a set-up and the jobs after it find: the layer before everything else, what the
 * host has behind it, and, while the command runs, tools that lead installers there.
 */

#define COPY_DIR   "setup"
#define TOOLS_DIR  "setup.tools"
#define PYTHON_DIR "python3."
#define SITE_DIR   "site-packages"
#define PTH_NAME   "gpurun-host.pth"
#define OVER_DIR   "venv" /* over a virtual environment of the host's user (venv.h) */

/*
 * PIP_USER leads a plain `pip install` into the layer. But pip refuses it in a virtual
 * environment, and beside --target, --prefix and the like; then, and in an environment
 * that the set-up made itself, it is told to do without, which holds against a `user =
 * true` of the host's pip.conf, too. (The command line as the kernel has it: sys.argv is
 * not there yet.)
 */
static const char sitecustomize[] =
    "import os, sys\n"
    "def own(at):\n"
    "    return (os.path.realpath(sys.prefix) + os.sep).startswith("
    "os.path.realpath(at) + os.sep)\n"
    "def elsewhere():\n"
    "    try:\n"
    "        with open('/proc/self/cmdline', 'rb') as f: words = f.read().split(b'\\0')\n"
    "    except OSError: return False\n"
    "    return any(w in (b'-t', b'--target', b'--prefix', b'--root') or\n"
    "               w.startswith((b'--target=', b'--prefix=', b'--root=')) or\n"
    "               (w.startswith(b'-t') and b'/' in w) for w in words)\n"
    "if (own(os.environ.get('GPURUN_SETUP_DIR', '/nonexistent'))\n"
    "        or own(os.path.dirname(os.path.dirname(__file__))) or elsewhere()):\n"
    "    os.environ['PIP_USER'] = '0'\n";

static void
put_first(struct strings *env, const char *name, const char *dir)
{
    const char *was = env_get(env, name);
    char *path = xasprintf("%s%s%s", dir, was == NULL ? "" : ":", was == NULL ? "" : was);

    env_set(env, name, path);
    free(path);
}

static void
put_last(struct strings *env, const char *name, const char *dir)
{
    const char *was = env_get(env, name);
    char *path = xasprintf("%s%s%s", was == NULL ? "" : was, was == NULL ? "" : ":", dir);

    env_set(env, name, path);
    free(path);
}

/* Where the host's user has pip install: not what a set-up is for. */
static const char *const elsewhere[] = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"};

/* ---- for the job, and the set-up, too ---- */

/*
 * Where `pip install --user` of the host's user went. Not where that user wants none of
 * it; but then the layer must be found all the same.
 */
static void
find_user_base(struct sup *s)
{
    const char *base = env_get(&s->env, "PYTHONUSERBASE");
    const char *home = env_get(&s->env, "HOME");

    free(s->user_base);
    s->user_base = NULL;
    if (env_get(&s->env, "PYTHONNOUSERSITE") != NULL) {
        env_unset(&s->env, "PYTHONNOUSERSITE");
    } else if (base != NULL && base[0] == '/') {
        s->user_base = xstrdup(base);
    } else if (home != NULL && home[0] == '/') {
        s->user_base = path_join(home, ".local");
    }
}

const char *
sup_setup_venv(const struct job_spec *spec, const struct strings *login)
{
    const char *prefix = env_get(login, "VIRTUAL_ENV");
    bool other = spec->python != NULL || spec->conda != NULL;

    for (size_t i = 0; i < spec->env.n; i++) {
        other = other || strncmp(spec->env.v[i], "VIRTUAL_ENV=", 12) == 0;
    }
    return !other && prefix != NULL && prefix[0] == '/' && venv_is_closed(prefix) ? prefix
                                                                                  : NULL;
}

void
sup_setup_env(struct sup *s)
{
    char *layer;
    char *bin;
    char *env_bin;

    if (s->spec.setup == NULL) {
        return;
    }
    find_user_base(s);
    layer = setups_path(s->renter, s->layer_key);
    bin = path_join(layer, "bin");
    env_bin = path_join(layer, "env/bin");
    env_set(&s->env, "GPURUN_SETUP_DIR", layer);
    env_set(&s->env, "PYTHONUSERBASE", layer);
    if (sup_setup_venv(&s->spec, &s->login) != NULL) {
        char *over = path_join(layer, OVER_DIR);
        char *over_bin = path_join(over, "bin");

        env_set(&s->env, "VIRTUAL_ENV", over);
        put_first(&s->env, "PATH", over_bin);
        free(over_bin);
        free(over);
    }
    put_first(&s->env, "PATH", bin);
    put_first(&s->env, "PATH", env_bin);
    free(layer);
    free(bin);
    free(env_bin);
}

void
sup_setup_walls(const struct sup *s, struct rec *walls)
{
    char *layer;

    if (s->spec.setup == NULL) {
        return;
    }
    layer = setups_path(s->renter, s->layer_key);
    rec_add(walls, s->setup_due ? "show" : "show_ro", layer);
    rec_add(walls, s->setup_due ? "rw" : "ro", layer);
    free(layer);
}

/* ---- its directory, and the tools: both go with the temporary files ---- */

/* The counterpart of the directory the user stood in, also where nothing of it was sent.
 */
static int
make_cwd(const char *copy, const char *cwd, struct err *e)
{
    int root = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int fd = -1;
    int rc;

    if (root == -1) {
        return err_set_sys(e, errno, "cannot open '%s'", copy);
    }
    rc = file_mkdirs_beneath(root, cwd, 0755, &fd, e);
    (void)fd_close(&fd);
    (void)fd_close(&root);
    return rc;
}

int
sup_setup_copy(struct sup *s, struct err *e)
{
    char *copy = path_join(s->tmpdir, COPY_DIR);
    int rc = workdirs_copy(s->renter, &s->spec, copy, e);

    if (rc == 0 && s->spec.cwd[0] != '\0') {
        rc = make_cwd(copy, s->spec.cwd, e);
    }
    free(copy);
    return rc;
}

int
sup_setup_tools(struct sup *s, struct err *e)
{
    char *dir = path_join(s->tmpdir, TOOLS_DIR);
    int fd = -1;
    int rc = -1;

    if (mkdir(dir, 0700) != 0 ||
        (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) == -1) {
        err_set_sys(e, errno, "cannot make '%s'", dir);
    } else if (sup_put_file(fd, "sitecustomize.py", sitecustomize, 0600, e) == 0) {
        rc = s->spec.python != NULL ? sup_python_put(s, fd, e) : 0;
    }
    (void)fd_close(&fd);
    free(dir);
    return rc;
}

int
sup_setup_tidy(struct sup *s, struct err *e)
{
    static const char *const dirs[] = {COPY_DIR, TOOLS_DIR};
    int rc = 0;

    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0] && rc == 0; i++) {
        char *dir = path_join(s->tmpdir, dirs[i]);

        rc = file_remove_tree(dir, e);
        free(dir);
    }
    return rc;
}

char *
sup_setup_cwd(const struct sup *s)
{
    char *copy = path_join(s->tmp_seen, COPY_DIR);
    char *cwd = s->spec.cwd[0] == '\0' ? xstrdup(copy) : path_join(copy, s->spec.cwd);

    free(copy);
    return cwd;
}

/*
 * The conda of the host, which need not be in the login's PATH, and no question of it:
 * nobody is there to answer. Not what others that the owner let in do not see.
 */
static void
name_conda(const struct sup *s, struct strings *env)
{
    char *conda = s->renter->confined ? NULL : conda_program(env);

    if (conda != NULL) {
        env_set(env, "CONDA_EXE", conda);
    }
    env_set(env, "CONDA_ALWAYS_YES", "true");
    env_set(env, "MAMBA_ALWAYS_YES", "true");
    free(conda);
}

void
sup_setup_command_env(const struct sup *s, struct strings *env)
{
    const char *layer = env_get(&s->env, "GPURUN_SETUP_DIR");
    char *tools = path_join(s->tmp_seen, TOOLS_DIR);
    char *prefix = path_join(layer, "env");
    char *src = path_join(layer, "src");

    strings_add_all(env, &s->env);
    /* A plain `pip install` goes into the layer, and finds what the host has. */
    env_set(env, "PIP_USER", "1");
    env_set(env, "PIP_BREAK_SYSTEM_PACKAGES", "1");
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        env_unset(env, elsewhere[i]);
    }
    env_set(env, "PIP_SRC", src); /* of `-e git+…`: at one path for good */
    env_set(env, "UV_PROJECT_ENVIRONMENT", prefix);
    name_conda(s, env);
    put_last(env, "PYTHONPATH", tools);
    if (s->spec.python != NULL) {
        char *python = path_join(tools, "python3");

        put_first(env, "PATH", tools);
        env_set(env, "UV_PYTHON", python);
        free(python);
    }
    free(tools);
    free(prefix);
    free(src);
}

/* ---- what the host's user has installed for itself ---- */

/* <base>/lib/<python>/site-packages is found behind the layer's own. */
static int
show_site(const struct sup *s, const char *python, struct err *e)
{
    char *site = xasprintf("%s/lib/%s/" SITE_DIR, s->user_base, python);
    char *layer = setups_path(s->renter, s->layer_key);
    char *own = xasprintf("%s/lib/%s/" SITE_DIR, layer, python);
    char *line = xasprintf("%s\n", site);
    int fd = -1;
    int rc = 0;

    if (access(site, R_OK | X_OK) == 0 && strchr(site, '\n') == NULL) {
        rc = file_mkdirs(own, 0755, e);
        if (rc == 0 &&
            (fd = open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) == -1) {
            rc = err_set_sys(e, errno, "cannot open '%s'", own);
        }
        if (rc == 0) {
            rc = sup_put_file(fd, PTH_NAME, line, 0644, e);
        }
    }
    (void)fd_close(&fd);
    free(site);
    free(layer);
    free(own);
    free(line);
    return rc;
}

static int
show_user_site(const struct sup *s, struct err *e)
{
    char *lib = s->user_base == NULL ? NULL : path_join(s->user_base, "lib");
    DIR *d = lib == NULL ? NULL : opendir(lib);
    struct dirent *de;
    int rc = 0;

    while (d != NULL && rc == 0 && (de = readdir(d)) != NULL) {
        if (strncmp(de->d_name, PYTHON_DIR, strlen(PYTHON_DIR)) == 0) {
            rc = show_site(s, de->d_name, e);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(lib);
    return rc;
}

int
sup_setup_show_host(const struct sup *s, struct err *e)
{
    const char *venv = sup_setup_venv(&s->spec, &s->login);
    char *layer;
    char *over;
    int rc;

    if (venv == NULL) {
        return show_user_site(s, e);
    }
    layer = setups_path(s->renter, s->layer_key);
    over = path_join(layer, OVER_DIR);
    rc = venv_put_over(venv, over, e);
    free(over);
    free(layer);
    return rc;
}

/* ---- links that would lead nowhere ---- */

#define LINK_MAX ((off_t)1 << 20)

/* What pip and setuptools leave of an editable install. */
static bool
may_be_link(const char *name)
{
    const char *dot = strrchr(name, '.');

    return strncmp(name, "__editable__", 12) == 0 ||
           (dot != NULL && (strcmp(dot, ".pth") == 0 || strcmp(dot, ".egg-link") == 0));
}

/*
 * Does that file hold those bytes? The set-up has written here, and where nothing ends
 * what it left running that may go on: a pipe in the file's place must not hold us up.
 */
static bool
holds(int dir_fd, const char *name, const char *bytes)
{
    int fd =
        openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    char *text = NULL;
    struct stat st;
    ssize_t n = -1;
    bool yes;

    if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        st.st_size <= LINK_MAX) {
        text = xmalloc((size_t)st.st_size + 1);
        n = fd_read_full(fd, text, (size_t)st.st_size);
    }
    yes = n > 0 && memmem(text, (size_t)n, bytes, strlen(bytes)) != NULL;
    (void)fd_close(&fd);
    free(text);
    return yes;
}

static int
check_site(const char *site, const char *copy, struct err *e)
{
    DIR *d = opendir(site);
    struct dirent *de;
    int rc = 0;

    while (d != NULL && rc == 0 && (de = readdir(d)) != NULL) {
        if (may_be_link(de->d_name) && holds(dirfd(d), de->d_name, copy)) {
            rc = err_set(e, ERR_INVALID,
                         "'%s' leads into the directory of this job, where later ones "
                         "find nothing: install a copy, without -e",
                         de->d_name);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return rc;
}

static int
check_lib(const char *lib, const char *copy, struct err *e)
{
    DIR *d = opendir(lib);
    struct dirent *de;
    int rc = 0;

    while (d != NULL && rc == 0 && (de = readdir(d)) != NULL) {
        if (strncmp(de->d_name, PYTHON_DIR, strlen(PYTHON_DIR)) == 0) {
            char *site = xasprintf("%s/%s/" SITE_DIR, lib, de->d_name);

            rc = check_site(site, copy, e);
            free(site);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return rc;
}

int
sup_setup_check(const struct sup *s, struct err *e)
{
    static const char *const libs[] = {"lib", "env/lib", OVER_DIR "/lib"};
    char *layer = setups_path(s->renter, s->layer_key);
    char *copy = path_join(s->tmp_seen, COPY_DIR);
    int rc = 0;

    for (size_t i = 0; i < sizeof libs / sizeof libs[0] && rc == 0; i++) {
        char *lib = path_join(layer, libs[i]);

        rc = check_lib(lib, copy, e);
        free(lib);
    }
    free(copy);
    free(layer);
    return rc;
}
