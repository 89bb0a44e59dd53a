#include "runner/host/loginenv.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "runner/host/runout.h"

#define MARK_BEGIN    "~gpurun-env-begin-5b7e1f0c93ad4862\n"
#define MARK_END      "~gpurun-env-end-5b7e1f0c93ad4862\n"
#define CAPTURE_MAX   ((size_t)4 << 20)
#define CAPTURE_NS    ((int64_t)15 * 1000000000)
#define LESSER_NS     ((int64_t)5 * 1000000000)
#define KEPT_S        3600
#define KEPT_LESSER_S 120
#define CACHE_TYPE    "gpurun.env.v1"
#define CACHE_MAX     ((size_t)8 << 20)
#define VARIABLES_MAX 8192

extern char **environ;

/* Files whose change makes the captured environment stale; '~' is $HOME. */
static const char *const start_files[] = {"/etc/environment",
                                          "/etc/profile",
                                          "/etc/profile.d",
                                          "/etc/bash.bashrc",
                                          "/etc/bashrc",
                                          "/etc/zsh/zshenv",
                                          "/etc/zsh/zprofile",
                                          "/etc/zsh/zshrc",
                                          "/etc/zshenv",
                                          "/etc/zprofile",
                                          "/etc/zshrc",
                                          "/etc/csh.cshrc",
                                          "/etc/csh.login",
                                          "/etc/fish",
                                          "~/.profile",
                                          "~/.bash_profile",
                                          "~/.bash_login",
                                          "~/.bashrc",
                                          "~/.zshenv",
                                          "~/.zprofile",
                                          "~/.zshrc",
                                          "~/.zlogin",
                                          "~/.cshrc",
                                          "~/.tcshrc",
                                          "~/.login",
                                          "~/.config/fish/config.fish",
                                          "~/.config/fish/conf.d",
                                          "~/.condarc",
                                          "~/.pam_environment",
                                          "~/.kshrc",
                                          NULL};

/* Of one shell or one connection, not of the user. */
static const char *const dropped[] = {"PWD",
                                      "OLDPWD",
                                      "SHLVL",
                                      "_",
                                      "TERM",
                                      "COLUMNS",
                                      "LINES",
                                      "PS1",
                                      "PS2",
                                      "PROMPT",
                                      "DISPLAY",
                                      "XDG_SESSION_ID",
                                      "XDG_SESSION_TYPE",
                                      "VTE_VERSION",
                                      "WINDOWID",
                                      "TMUX",
                                      "STY",
                                      "MAIL",
                                      "BASH_ENV",
                                      "ENV",
                                      NULL};

static bool
is_dropped(const char *assignment)
{
    if (strncmp(assignment, "SSH_", 4) == 0 || strncmp(assignment, "GPURUN_", 7) == 0 ||
        assignment[0] == '=' || strchr(assignment, '=') == NULL) {
        return true;
    }
    for (size_t i = 0; dropped[i] != NULL; i++) {
        size_t n = strlen(dropped[i]);

        if (strncmp(assignment, dropped[i], n) == 0 && assignment[n] == '=') {
            return true;
        }
    }
    return false;
}

int
loginenv_print(void)
{
    struct buf b = BUF_INIT;
    int rc;

    buf_add_str(&b, MARK_BEGIN);
    for (char **v = environ; *v != NULL; v++) {
        buf_add(&b, *v, strlen(*v) + 1);
    }
    buf_add_str(&b, MARK_END);
    rc = fd_write_all(STDOUT_FILENO, b.data, b.len);
    buf_free(&b);
    return rc;
}

/* ---- what the answer depends on ---- */

static void
add_stat(struct buf *b, const char *path)
{
    struct stat sb;

    if (stat(path, &sb) == 0) {
        buf_printf(b, "%s %lld %lld %lld.%09ld\n", path, (long long)sb.st_ino,
                   (long long)sb.st_size, (long long)sb.st_mtim.tv_sec,
                   sb.st_mtim.tv_nsec);
    }
}

static int
is_visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* A start file, or a directory of such: one edited in place changes only itself. */
static void
add_start_file(struct buf *b, const char *path)
{
    struct dirent **names = NULL;
    int n;

    add_stat(b, path);
    n = scandir(path, &names, is_visible, alphasort);
    for (int i = 0; i < n; i++) {
        char *one = path_join(path, names[i]->d_name);

        add_stat(b, one);
        free(one);
        free(names[i]);
    }
    free(names);
}

static void
fingerprint(const char *shell, char out[SHA256_HEX_LEN + 1])
{
    static const char *const inherited[] = {"HOME", "PATH",   "USER",
                                            "LANG", "LC_ALL", NULL};
    const char *home = getenv("HOME");
    struct buf b = BUF_INIT;
    struct sha256 h;

    buf_printf(&b, "shell %s\n", shell);
    add_stat(&b, shell);
    for (size_t i = 0; inherited[i] != NULL; i++) {
        const char *v = getenv(inherited[i]);

        buf_printf(&b, "%s=%s\n", inherited[i], v == NULL ? "" : v);
    }
    for (size_t i = 0; start_files[i] != NULL; i++) {
        if (start_files[i][0] == '~' && home != NULL) {
            char *path = path_join(home, start_files[i] + 2);

            add_start_file(&b, path);
            free(path);
        } else {
            add_start_file(&b, start_files[i]);
        }
    }
    sha256_of(b.data, b.len, &h);
    sha256_format(&h, out);
    buf_free(&b);
}

/* ---- asking the shell ---- */

char *
loginenv_program(void)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (n <= 0) {
        return NULL;
    }
    exe[n] = '\0';
    return xstrdup(exe);
}

static char *
shell_command(void)
{
    char *exe = loginenv_program();
    struct buf b = BUF_INIT;

    if (exe == NULL) {
        return NULL;
    }
    buf_add_str(&b, "exec ");
    text_shell_quote(&b, exe);
    buf_add_str(&b, " print-env");
    free(exe);
    return buf_steal(&b);
}

/* Everything between the marks, NUL-separated. */
bool
loginenv_take(const struct buf *b, struct strings *out)
{
    const char *begin = memmem(b->data, b->len, MARK_BEGIN, strlen(MARK_BEGIN));
    const char *limit = (const char *)b->data + b->len;
    const char *end;

    if (begin == NULL) {
        return false;
    }
    begin += strlen(MARK_BEGIN);
    end = memmem(begin, (size_t)(limit - begin), MARK_END, strlen(MARK_END));
    if (end == NULL) {
        return false;
    }
    while (begin < end && out->n < VARIABLES_MAX) {
        size_t n = strnlen(begin, (size_t)(end - begin));

        if (begin + n == end) { /* not terminated: torn */
            return false;
        }
        if (!is_dropped(begin)) {
            strings_add(out, begin);
        }
        begin += n + 1;
    }
    return true;
}

int
loginenv_ask(char *const argv[], char *const envp[], int64_t timeout_ns,
             struct strings *out, struct err *e)
{
    struct runout_options o = {.path = argv[0],
                               .argv = argv,
                               .envp = envp,
                               .timeout_ns = timeout_ns,
                               .max_bytes = CAPTURE_MAX,
                               .until = MARK_END};
    struct buf b = BUF_INIT;
    int status = 0;
    int rc = runout(&o, &b, &status, e);

    if (rc == 0 && (b.len == 0 || !loginenv_take(&b, out))) {
        strings_free(out);
        rc = err_set(e, ERR_INVALID, "the login shell '%s' did not tell its environment",
                     argv[0]);
    }
    buf_free(&b);
    return rc;
}

static bool
ask(const char *shell, const char *flags, int64_t timeout_ns, const char *command,
    struct strings *out, struct err *e)
{
    char *const argv[] = {(char *)(uintptr_t)shell, (char *)(uintptr_t)flags,
                          (char *)(uintptr_t)command, NULL};

    return loginenv_ask(argv, environ, timeout_ns, out, e) == 0;
}

/*
 * Login and interactive first, then lesser starts: of a shell that does not understand
 * it, that hangs, or whose start files end it (`exec zsh`, `exec tmux`). *why is all 0
 * only if the first one answered.
 */
static bool
ask_shells(const char *shell, struct strings *out, struct err *why)
{
    static const char *const usual[] = {"-lic", "-lc", "-c", NULL};
    /* csh knows -l only by itself: interactive is what reads the start files there. */
    static const char *const of_csh[] = {"-ic", "-c", NULL};
    const char *name = strrchr(shell, '/') == NULL ? shell : strrchr(shell, '/') + 1;
    const char *const *flags = strstr(name, "csh") != NULL ? of_csh : usual;
    char *command = shell_command();
    struct err e;
    bool ok;

    if (command == NULL) {
        err_set(why, ERR_SYSTEM, "cannot find my own program");
        return false;
    }
    ok = ask(shell, flags[0], CAPTURE_NS, command, out, why);
    if (ok) {
        memset(why, 0, sizeof *why);
    }
    for (size_t i = 1; !ok && flags[i] != NULL; i++) {
        ok = ask(shell, flags[i], LESSER_NS, command, out, &e);
        if (ok) {
            err_set(why, ERR_SYSTEM,
                    "'%s %s' did not tell its environment; it is that of '%s %s'", shell,
                    flags[0], shell, flags[i]);
        }
    }
    free(command);
    return ok;
}

/* ---- keeping it ---- */

/* full: only an answer of the shell as it was asked first. */
static bool
load(const struct agent *a, const char *print, bool full, struct strings *out,
     struct err *why)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err none;
    const char *kept;
    const char *told;
    int64_t age_s = INT64_MAX;
    int64_t asked_s;
    bool ok = false;

    if (file_read_at(a->home_fd, "env", CACHE_MAX, &b, &none) != 0 ||
        rec_parse(&r, b.data, b.len, CACHE_TYPE, &none) != 0) {
        goto out;
    }
    kept = rec_get(r, "fingerprint");
    told = rec_get(r, "why");
    if (rec_need_int(r, "asked_s", 0, INT64_MAX / 2, &asked_s, &none) == 0) {
        age_s = clock_wall_ns() / 1000000000 - asked_s;
    }
    if (kept == NULL || strcmp(kept, print) != 0 || told == NULL || age_s < 0 ||
        age_s >= (told[0] == '\0' ? KEPT_S : KEPT_LESSER_S) ||
        (full && told[0] != '\0')) {
        goto out;
    }
    for (size_t i = 0; i < rec_count(r, "env"); i++) {
        strings_add(out, rec_get_nth(r, "env", i, NULL));
    }
    if (told[0] != '\0') {
        err_told(why, ERR_NONE, told, rec_get(r, "why_form"));
    }
    ok = true;

out:
    rec_free(r);
    buf_free(&b);
    return ok;
}

static void
store(const struct agent *a, const char *print, const struct strings *env,
      const struct err *why)
{
    struct rec *r = rec_new(CACHE_TYPE);
    struct buf b = BUF_INIT;
    struct err none;

    rec_add(r, "fingerprint", print);
    rec_add_int(r, "asked_s", clock_wall_ns() / 1000000000);
    rec_add(r, "why", why->msg);
    rec_add(r, "why_form", why->form);
    for (size_t i = 0; i < env->n; i++) {
        rec_add(r, "env", env->v[i]);
    }
    rec_encode(r, &b);
    /* Two at once: the temporary's content may mix, and is then refused when read. */
    (void)!file_replace_at(a->home_fd, "env", b.data, b.len, &none);
    buf_free(&b);
    rec_free(r);
}

static void
get(const struct agent *a, bool full, struct strings *out, struct err *why)
{
    const char *shell = getenv("SHELL");
    char print[SHA256_HEX_LEN + 1];
    struct err e;

    memset(why, 0, sizeof *why);
    shell = shell == NULL || shell[0] != '/' ? "/bin/sh" : shell;
    fingerprint(shell, print);
    if (load(a, print, full, out, why)) {
        return;
    }
    if (!ask_shells(shell, out, &e)) {
        for (char **v = environ; *v != NULL; v++) {
            if (!is_dropped(*v)) {
                strings_add(out, *v);
            }
        }
    }
    *why = e;
    (void)text_escape_to(why->msg, sizeof why->msg, e.msg);
    store(a, print, out, why);
}

void
loginenv_get(const struct agent *a, struct strings *out, struct err *why)
{
    get(a, false, out, why);
}

void
loginenv_get_again(const struct agent *a, struct strings *out, struct err *why)
{
    get(a, true, out, why);
}
