#include "runner/host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

/*
 * Landlock's interface, declared here: the headers of the build machine may be older
 * than the kernel of the host.
 */
#define LL_CREATE_RULESET 444
#define LL_ADD_RULE       445
#define LL_RESTRICT_SELF  446
#define LL_VERSION_FLAG   1u
#define LL_RULE_PATH      1

#define LL_EXECUTE        (1ull << 0)
#define LL_WRITE_FILE     (1ull << 1)
#define LL_READ_FILE      (1ull << 2)
#define LL_READ_DIR       (1ull << 3)
#define LL_FS_ABI1        ((1ull << 13) - 1)
#define LL_REFER          (1ull << 13) /* ABI 2 */
#define LL_TRUNCATE       (1ull << 14) /* ABI 3 */
#define LL_SCOPE_ABSTRACT (1ull << 0)  /* ABI 6 */
#define LL_SCOPE_SIGNAL   (1ull << 1)
#define LL_READ           (LL_EXECUTE | LL_READ_FILE | LL_READ_DIR)
#define LL_OF_FILES       (LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE)

struct ll_ruleset {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped;
};

struct ll_path {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

struct sandbox {
    int ruleset_fd; /* -1: no Landlock here */
    bool confined;
};

int
sandbox_landlock_abi(void)
{
    long v = syscall(LL_CREATE_RULESET, NULL, 0, LL_VERSION_FLAG);

    return v < 0 ? 0 : (int)v;
}

/* ---- name spaces ---- */

const char *
sandbox_spaces_name(enum sandbox_spaces s)
{
    return s == SANDBOX_SPACES_ROOT   ? "pidns"
           : s == SANDBOX_SPACES_USER ? "userns"
                                      : "subreaper";
}

static int
put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int failed = 0;

    if (fd == -1) {
        return errno;
    }
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        failed = errno;
    }
    (void)close(fd);
    return failed;
}

/* Ourselves as ourselves: files made inside belong to the same user outside. */
static int
write_maps(uid_t uid, gid_t gid)
{
    char text[64];
    int failed;

    (void)snprintf(text, sizeof text, "%u %u 1", (unsigned)uid, (unsigned)uid);
    failed = put_file("/proc/self/uid_map", text);
    if (failed == 0) {
        failed = put_file("/proc/self/setgroups", "deny");
    }
    if (failed == 0) {
        (void)snprintf(text, sizeof text, "%u %u 1", (unsigned)gid, (unsigned)gid);
        failed = put_file("/proc/self/gid_map", text);
    }
    return failed;
}

/*
 * The files in /proc of a process that is not dumpable, as a supervisor is not, are
 * root's, so it could not write its own maps: for that moment it is.
 */
static int
map_ids(uid_t uid, gid_t gid)
{
    int was = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    int failed = 0;

    if (was != 1 && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) {
        return errno;
    }
    failed = write_maps(uid, gid);
    if (was != 1 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 && failed == 0) {
        failed = errno;
    }
    return failed;
}

int
sandbox_unshare(enum sandbox_spaces mode, uid_t uid, gid_t gid)
{
    int flags = CLONE_NEWPID | CLONE_NEWNS;

    if (mode == SANDBOX_SPACES_NONE) {
        return 0;
    }
    if (mode == SANDBOX_SPACES_USER) {
        flags |= CLONE_NEWUSER;
    }
    if (unshare(flags) != 0) {
        return errno;
    }
    return mode == SANDBOX_SPACES_USER ? map_ids(uid, gid) : 0;
}

int
sandbox_own_mounts(void)
{
    /* Slave: what the owner mounts later still appears, nothing of ours gets out. */
    if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) {
        return errno;
    }
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
        return errno;
    }
    return 0;
}

/* ---- mounts ---- */

static int
open_path(const char *path, int *fd)
{
    *fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    return *fd == -1 ? errno : 0;
}

/* mount takes paths; a descriptor stays right when what lies above it is covered. */
static int
bind_fd(int fd, const char *target, bool read_only, struct err *e)
{
    unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID;
    struct statvfs v;
    char source[48];

    (void)snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) != 0) {
        return err_set_sys(e, errno, "cannot show '%s' to the job", target);
    }
    /* In a user's name space flags that are set already must not be taken away. */
    if (read_only && statvfs(target, &v) == 0) {
        flags |= (v.f_flag & ST_NODEV) != 0 ? MS_NODEV : 0;
        flags |= (v.f_flag & ST_NOEXEC) != 0 ? MS_NOEXEC : 0;
        flags |= (v.f_flag & ST_NOATIME) != 0 ? MS_NOATIME : 0;
        flags |= (v.f_flag & ST_NODIRATIME) != 0 ? MS_NODIRATIME : 0;
        flags |= (v.f_flag & ST_RELATIME) != 0 ? MS_RELATIME : 0;
    }
    if (read_only && mount(NULL, target, NULL, flags, NULL) != 0) {
        return err_set_sys(e, errno, "cannot make '%s' read-only", target);
    }
    return 0;
}

static int
make_target(const struct sandbox_bind *b, struct err *e)
{
    struct stat sb;
    char *slash;
    char *dir;
    int fd;
    int rc;

    if (fstat(b->fd, &sb) != 0) {
        return err_set_sys(e, errno, "cannot look at '%s'", b->path);
    }
    if (S_ISDIR(sb.st_mode)) {
        return file_mkdirs(b->path, 0700, e);
    }
    dir = xstrdup(b->path);
    slash = strrchr(dir, '/');
    *slash = '\0';
    rc = file_mkdirs(dir, 0700, e);
    free(dir);
    if (rc != 0) {
        return -1;
    }
    fd = open(b->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        return err_set_sys(e, errno, "cannot make a place for '%s'", b->path);
    }
    return fd_close(&fd) == 0 ? 0 : err_set_sys(e, errno, "cannot close '%s'", b->path);
}

static int
own_tmp(const char *tmp, const char *home, struct err *e)
{
    if (tmp == NULL) {
        return 0;
    }
    if (mount(tmp, "/tmp", NULL, MS_BIND | MS_REC, NULL) != 0) {
        return err_set_sys(e, errno, "cannot put '%s' over '/tmp'", tmp);
    }
    return strncmp(home, "/tmp/", 5) == 0 ? file_mkdirs(home, 0700, e) : 0;
}

int
sandbox_hide(const char *home, const char *tmp, struct sandbox_bind *binds,
             size_t n_binds, struct err *e)
{
    int rc = -1;

    for (size_t i = 0; i < n_binds; i++) {
        binds[i].fd = -1;
    }
    for (size_t i = 0; i < n_binds; i++) {
        int failed = open_path(binds[i].path, &binds[i].fd);

        if (failed != 0) {
            err_set_sys(e, failed, "cannot open '%s'", binds[i].path);
            goto out;
        }
    }
    if (own_tmp(tmp, home, e) != 0) {
        goto out;
    }
    if (mount("gpurun", home, "tmpfs", MS_NOSUID | MS_NODEV, "size=256k,mode=0700") !=
        0) {
        err_set_sys(e, errno, "cannot hide the agent's home from the job");
        goto out;
    }
    for (size_t i = 0; i < n_binds; i++) {
        if (make_target(&binds[i], e) != 0 ||
            bind_fd(binds[i].fd, binds[i].path, binds[i].read_only, e) != 0) {
            goto out;
        }
    }
    if (mount(NULL, home, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV,
              NULL) != 0) {
        err_set_sys(e, errno, "cannot seal the agent's home");
        goto out;
    }
    rc = 0;

out:
    for (size_t i = 0; i < n_binds; i++) {
        (void)fd_close(&binds[i].fd);
    }
    return rc;
}

/* ---- Landlock ---- */

static uint64_t
handled_fs(int abi)
{
    uint64_t fs = LL_FS_ABI1;

    fs |= abi >= 2 ? LL_REFER : 0;
    fs |= abi >= 3 ? LL_TRUNCATE : 0;
    return fs;
}

static int
allow(int ruleset, const char *path, uint64_t rights, bool must, struct err *e)
{
    struct ll_path rule = {.allowed = rights};
    struct stat sb;
    int fd = open(path, O_PATH | O_CLOEXEC);
    int rc = 0;

    if (fd == -1) {
        return must ? err_set_sys(e, errno, "cannot open '%s'", path) : 0;
    }
    if (fstat(fd, &sb) == 0 && !S_ISDIR(sb.st_mode)) {
        rule.allowed &= LL_OF_FILES;
    }
    rule.parent_fd = fd;
    if (syscall(LL_ADD_RULE, ruleset, LL_RULE_PATH, &rule, 0) != 0) {
        rc = err_set_sys(e, errno, "cannot allow '%s' to the job", path);
    }
    (void)close(fd);
    return rc;
}

/* What every program needs to read, and the devices it needs to write to. */
static const char *const usual_ro[] = {"/usr",
                                       "/bin",
                                       "/sbin",
                                       "/lib",
                                       "/lib32",
                                       "/lib64",
                                       "/libx32",
                                       "/etc",
                                       "/opt",
                                       "/sys",
                                       "/proc",
                                       "/nix",
                                       "/run/systemd/resolve",
                                       "/run/resolvconf",
                                       "/run/nvidia-persistenced",
                                       "/var/cache/fontconfig",
                                       "/var/lib/dpkg",
                                       NULL};
static const char *const usual_rw[] = {
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
    "/dev/ptmx", "/dev/pts",  "/dev/shm",  "/dev/mqueue", "/dev/fd",      NULL};

static int
allow_list(int ruleset, const char *const *paths, uint64_t rights, struct err *e)
{
    for (; *paths != NULL; paths++) {
        if (allow(ruleset, *paths, rights, false, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
allow_strings(int ruleset, const struct strings *paths, uint64_t rights, bool must,
              struct err *e)
{
    for (size_t i = 0; paths != NULL && i < paths->n; i++) {
        if (allow(ruleset, paths->v[i], rights, must, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
fill_ruleset(int fd, const struct sandbox_options *o, uint64_t all, struct err *e)
{
    if (!o->confined) {
        /* All but changing mounts, which Landlock always forbids: that is the point. */
        return allow(fd, "/", all, true, e);
    }
    if (allow_list(fd, usual_ro, LL_READ, e) != 0 ||
        allow_list(fd, usual_rw, all, e) != 0 ||
        allow_strings(fd, o->ro, LL_READ, false, e) != 0 ||
        allow_strings(fd, o->rw, all, true, e) != 0) {
        return -1;
    }
    return 0;
}

int
sandbox_new(struct sandbox **out, const struct sandbox_options *o, struct err *e)
{
    struct sandbox *s = xcalloc(1, sizeof *s);
    int abi = sandbox_landlock_abi();
    struct ll_ruleset rules = {.handled_fs = handled_fs(abi)};
    size_t size = abi >= 6 ? sizeof rules : abi >= 4 ? 16 : 8;

    s->ruleset_fd = -1;
    s->confined = o->confined;
    if (abi > 0) {
        if (abi >= 6 && (o->confined || !o->own_pids)) {
            rules.scoped = LL_SCOPE_SIGNAL | (o->confined ? LL_SCOPE_ABSTRACT : 0);
        }
        s->ruleset_fd = (int)syscall(LL_CREATE_RULESET, &rules, size, 0);
        if (s->ruleset_fd == -1) {
            err_set_sys(e, errno, "cannot make rules for the job");
            sandbox_free(s);
            return -1;
        }
        (void)fcntl(s->ruleset_fd, F_SETFD, FD_CLOEXEC);
        if (fill_ruleset(s->ruleset_fd, o, rules.handled_fs, e) != 0) {
            sandbox_free(s);
            return -1;
        }
    }
    *out = s;
    return 0;
}

void
sandbox_free(struct sandbox *s)
{
    if (s != NULL) {
        (void)fd_close(&s->ruleset_fd);
        free(s);
    }
}

bool
sandbox_has_landlock(const struct sandbox *s)
{
    return s->ruleset_fd != -1;
}

/* ---- capabilities ---- */

#define CAP_BIT(c) (1ull << (c))
#define CAPS_LAST  63

/*
 * What a login user who is root keeps: all but what undoes the walls (mounts, kernel
 * modules, raw memory, making device nodes, opening files by handle, the memory and
 * descriptors of processes that are not dumpable: the guard's). Tracing its own
 * processes needs no capability.
 */
#define CAPS_TAKEN                                                                       \
    (CAP_BIT(CAP_SYS_ADMIN) | CAP_BIT(CAP_SYS_MODULE) | CAP_BIT(CAP_SYS_RAWIO) |         \
     CAP_BIT(CAP_SYS_PTRACE) | CAP_BIT(CAP_SYS_BOOT) | CAP_BIT(CAP_MKNOD) |              \
     CAP_BIT(CAP_DAC_READ_SEARCH) | CAP_BIT(CAP_SYS_TIME) | CAP_BIT(CAP_MAC_ADMIN) |     \
     CAP_BIT(CAP_MAC_OVERRIDE) | CAP_BIT(38) /* PERFMON */ | CAP_BIT(39) /* BPF */ |     \
     CAP_BIT(40) /* CHECKPOINT_RESTORE */)

static int
drop_caps(uint64_t keep)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    for (int c = 0; c <= CAPS_LAST; c++) {
        if ((keep & CAP_BIT(c)) == 0 && prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1 &&
            prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0 && errno != EPERM) {
            return errno;
        }
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capget, &head, data) != 0) {
        return errno;
    }
    for (int i = 0; i < 2; i++) {
        uint32_t part = (uint32_t)(keep >> (32 * i));

        data[i].effective &= part;
        data[i].permitted &= part;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &head, data) == 0 ? 0 : errno;
}

int
sandbox_enter(const struct sandbox *s)
{
    int failed = drop_caps(s->confined ? 0 : ~CAPS_TAKEN);

    if (failed != 0) {
        return failed;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return errno;
    }
    if (s->ruleset_fd != -1 && syscall(LL_RESTRICT_SELF, s->ruleset_fd, 0) != 0) {
        return errno;
    }
    return 0;
}
