#include "runner/job/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

#define DAY_NS ((int64_t)86400 * 1000000000)

/* Of a packed notify_seen; its percent in the lowest bits. */
#define SEEN_PERCENT  UINT64_C(0xff)
#define SEEN_HAD_TIME (UINT64_C(1) << 8)
#define SEEN_LIMIT    (UINT64_C(1) << 9)
#define SEEN_FINAL    (UINT64_C(1) << 10)

uint64_t
notify_seen_pack(const struct notify_seen *seen)
{
    return ((uint64_t)seen->percent & SEEN_PERCENT) |
           (seen->had_time ? SEEN_HAD_TIME : 0) | (seen->limit ? SEEN_LIMIT : 0) |
           (seen->final ? SEEN_FINAL : 0);
}

struct notify_seen
notify_seen_unpack(uint64_t packed)
{
    return (struct notify_seen){
        .percent = (int)(packed & SEEN_PERCENT),
        .had_time = (packed & SEEN_HAD_TIME) != 0,
        .limit = (packed & SEEN_LIMIT) != 0,
        .final = (packed & SEEN_FINAL) != 0,
    };
}

static int
percent_of_cap(const struct job_state *st)
{
    bool by_money = st->reason == JOB_COST || st->reason == JOB_BALANCE;

    return st->phase >= JOB_STOPPING && by_money ? 100 : (int)st->alert_pct;
}

static const char *
final_event(const struct job_state *st)
{
    if (st->phase == JOB_LOST) {
        return "lost";
    }
    return st->reason == JOB_FAILED || st->reason == JOB_FAULT ? "failed" : "ended";
}

const char *
notify_next(struct notify_seen *seen, const struct job_state *st)
{
    static const struct {
        int percent;
        const char *event;
    } steps[] = {{50, "cost-50"}, {80, "cost-80"}, {100, "cost-100"}};
    int percent = percent_of_cap(st);

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (percent >= steps[i].percent && seen->percent < steps[i].percent) {
            seen->percent = steps[i].percent;
            return steps[i].event;
        }
    }
    if (st->phase == JOB_RUNNING && st->can_run_s != JOB_NOT_SET) {
        seen->had_time = seen->had_time || st->can_run_s > NOTIFY_LIMIT_S;
        if (seen->had_time && !seen->limit && st->can_run_s <= NOTIFY_LIMIT_S) {
            seen->limit = true;
            return "limit";
        }
    }
    if (job_phase_is_final(st->phase) && !seen->final) {
        seen->final = true;
        return final_event(st);
    }
    return NULL;
}

/* ---- the end of what it left ---- */

const char *
notify_expiry(struct notify_expiry *seen, int64_t expires_wall_ns, int64_t now_wall_ns)
{
    /* The nearer first: told late, it speaks for the further one. */
    static const struct {
        int64_t days;
        const char *event;
    } moments[] = {{1, "expires-1d"}, {NOTIFY_EXPIRY_DAYS, "expires-3d"}};
    int64_t left_ns = expires_wall_ns - now_wall_ns;

    if (expires_wall_ns == 0 || left_ns <= 0) {
        return NULL;
    }
    if (seen->expires_wall_ns != expires_wall_ns) {
        *seen = (struct notify_expiry){.expires_wall_ns = expires_wall_ns};
    }
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        if (left_ns > moments[i].days * DAY_NS) {
            continue;
        }
        if (seen->told_days != 0 && seen->told_days <= moments[i].days) {
            return NULL;
        }
        seen->told_days = moments[i].days;
        return moments[i].event;
    }
    return NULL;
}

struct rec *
notify_expiry_encode(const struct notify_expiry *seen)
{
    struct rec *r = rec_new(NOTIFY_EXPIRY_TYPE);

    rec_add_int(r, "expires_wall_ns", seen->expires_wall_ns);
    rec_add_int(r, "told_days", seen->told_days);
    return r;
}

int
notify_expiry_parse(struct notify_expiry *out, const struct rec *r, struct err *e)
{
    struct notify_expiry seen;

    if (rec_need_int(r, "expires_wall_ns", 0, INT64_MAX, &seen.expires_wall_ns, e) != 0 ||
        rec_need_int(r, "told_days", 0, 3, &seen.told_days, e) != 0) {
        return -1;
    }
    *out = seen;
    return 0;
}

/* ---- facts ---- */

static void
fact(struct strings *env, const char *name, const char *value)
{
    char *kv = xasprintf("GPURUN_%s=%s", name, value != NULL ? value : "");

    strings_add(env, kv);
    free(kv);
}

static void
fact_int(struct strings *env, const char *name, int64_t value)
{
    char text[24] = "";

    if (value != JOB_NOT_SET) {
        (void)snprintf(text, sizeof text, "%" PRId64, value);
    }
    fact(env, name, text);
}

static void
fact_yuan(struct strings *env, const char *name, int64_t fen)
{
    char text[32];

    fen = fen > 0 ? fen : 0;
    (void)snprintf(text, sizeof text, "%" PRId64 ".%02d", fen / 100, (int)(fen % 100));
    fact(env, name, text);
}

void
notify_facts(struct strings *env, const char *event, const struct job_state *st,
             const char *host)
{
    bool final = job_phase_is_final(st->phase);
    int64_t fen = st->charge_fen != JOB_NOT_SET ? st->charge_fen : st->cost_fen;
    char at[CLOCK_TEXT_MAX] = "";

    if (st->expires_wall_ns > 0) {
        clock_format_utc(st->expires_wall_ns, 0, at);
    }
    fact(env, "EVENT", event);
    fact(env, "JOB", st->job);
    fact(env, "NAME", st->name);
    fact(env, "HOST", host);
    fact(env, "COMMAND", st->command);
    fact(env, "STATE", job_phase_name(st->phase));
    fact(env, "REASON", job_reason_name(st->reason));
    fact(env, "DETAIL", st->detail);
    fact_int(env, "EXIT", final ? job_exit_code(st) : JOB_NOT_SET);
    fact_yuan(env, "COST", fen);
    fact_yuan(env, "CAP", st->cap_fen);
    fact_int(env, "COST_FEN", fen);
    fact_int(env, "CAP_FEN", st->cap_fen > 0 ? st->cap_fen : 0);
    fact_int(env, "CAN_RUN_S", final ? JOB_NOT_SET : st->can_run_s);
    fact(env, "SNAPSHOT", st->snapshot);
    fact(env, "EXPIRES", at);
}

/* ---- the command ---- */

static _Noreturn void
become(const char *command, char *const *envp)
{
    char *const argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t)command, NULL};
    sigset_t none;

    (void)setsid();
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGHUP, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve("/bin/sh", argv, envp);
    _exit(127);
}

/* A copy of a process with threads it does not have: nobody's handlers run. */
static _Noreturn void
end(int status)
{
    for (;;) {
        (void)syscall(SYS_exit_group, status);
    }
}

#define REPORT_FD 3
#define LINE_MAX  ((size_t)1024) /* of a report */

/*
 * What the command says is none of a job's output. Of the caller's files nothing stays
 * open but what is reported to: locks and sockets, by whose end others know that the
 * caller is gone. Returns where to report, or -1.
 */
static int
leave_files(const struct notify_report *report)
{
    int fd = report != NULL ? report->fd : -1;
    int null = open("/dev/null", O_RDONLY);

    if (null != -1) {
        (void)dup2(null, STDIN_FILENO);
    }
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    if (fd > STDERR_FILENO) {
        fd = dup2(fd, REPORT_FD);
        (void)fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC); /* it is not the command's */
        fd_close_from(REPORT_FD + 1);
    } else {
        fd_close_from(REPORT_FD);
    }
    return fd;
}

static size_t
put(char line[LINE_MAX], size_t at, const char *text)
{
    while (*text != '\0' && at < LINE_MAX) {
        line[at++] = *text++;
    }
    return at;
}

/* In one write, so that lines of several processes do not mix. Nothing here is more than
 * what is safe after a fork. */
static void
tell_failure(const struct notify_report *report, int fd, bool late, int code)
{
    const char digits[] = {(char)('0' + code / 100), (char)('0' + code / 10 % 10),
                           (char)('0' + code % 10), '\0'};
    char line[LINE_MAX];
    char at[CLOCK_TEXT_MAX];
    size_t n = 0;

    if (report->stamped) {
        clock_format_utc(clock_wall_ns(), 3, at);
        n = put(line, put(line, n, at), " ");
    }
    n = put(line, n, late ? report->late : report->code);
    if (!late) {
        n = put(line, n, digits + (code < 10 ? 2 : code < 100 ? 1 : 0));
    }
    n -= n == LINE_MAX ? 1 : 0;
    line[n++] = '\n';
    (void)!write(fd, line, n);
}

/*
 * Between us and the command: ends it with all that it started when its time is over,
 * whoever of them hangs, and ends as it did. Only calls that are safe after a fork.
 */
static _Noreturn void
watch(const char *command, char *const *envp, const struct notify_report *report)
{
    struct timespec left = {NOTIFY_TIME_S, 0};
    int report_fd = leave_files(report);
    bool late = false;
    sigset_t ended;
    pid_t pid;
    int status = 0;
    int code;

    (void)setsid(); /* no terminal's signals */
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigemptyset(&ended);
    (void)sigaddset(&ended, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &ended, NULL);
    pid = _Fork();
    if (pid == 0) {
        become(command, envp);
    }
    if (pid == -1) {
        end(126);
    }
    while (sigtimedwait(&ended, NULL, &left) == -1 && errno == EINTR) {
    }
    if (waitpid(pid, &status, WNOHANG) != pid) {
        late = true;
        (void)kill(-pid, SIGKILL); /* its group, which setsid has made by then */
        (void)waitpid(pid, &status, 0);
    }
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (report_fd != -1 && (late || code != 0)) {
        tell_failure(report, report_fd, late, code);
    }
    end(code);
}

/* A fact takes the place of what we have been told ourselves by that name. */
static bool
is_said_later(const struct strings *env, size_t i)
{
    size_t len = strcspn(env->v[i], "=") + 1;

    for (size_t k = i + 1; k < env->n; k++) {
        if (strncmp(env->v[i], env->v[k], len) == 0) {
            return true;
        }
    }
    return false;
}

int
notify_start(const char *command, const struct strings *env,
             const struct notify_report *report, pid_t *pid, struct err *e)
{
    char **envp = xcalloc(env->n + 1, sizeof *envp);
    size_t n = 0;

    for (size_t i = 0; i < env->n; i++) {
        if (!is_said_later(env, i)) {
            envp[n++] = env->v[i];
        }
    }
    *pid = _Fork();
    if (*pid == 0) {
        watch(command, envp, report);
    }
    free(envp);
    return *pid == -1 ? err_set_sys(e, errno, "no process for the notification") : 0;
}
