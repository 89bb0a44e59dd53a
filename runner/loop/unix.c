#include "runner/loop/unix.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"

#define NAME_MAX_BYTES 48
#define BACKLOG        64

#define NO_FDS_WAIT_NS ((int64_t)100000000)

struct unix_listener {
    struct watch *watch;
    struct timer *wait; /* while there are no descriptors to accept with */
    int fd;
    void (*fn)(void *ctx, int fd, const struct unix_peer *peer);
    void *ctx;
};

/* dir_fd/name by a path that is short whatever the directory's own path is. */
static void
address(struct sockaddr_un *a, int dir_fd, const char *name)
{
    int n;

    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/%s", dir_fd, name);
    assert(n > 0 && (size_t)n < sizeof a->sun_path);
    (void)n;
}

static int
check_name(const char *name, struct err *e)
{
    if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES || strchr(name, '/') != NULL) {
        return err_set(e, ERR_INVALID, "'%.64s' is no name for a socket", name);
    }
    return 0;
}

int
unix_peer_of(int fd, struct unix_peer *out, struct err *e)
{
    struct ucred cred;
    socklen_t len = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1) {
        return err_set_sys(e, errno, "cannot tell who is at the other end of a socket");
    }
    *out = (struct unix_peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
    return 0;
}

static int
new_socket(int *fd, struct err *e)
{
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd == -1) {
        return err_set_sys(e, errno, "cannot make a socket");
    }
    return 0;
}

/* ---- listening ---- */

static void
on_readable(void *ctx, int events)
{
    struct unix_listener *u = ctx;
    struct unix_peer peer;
    struct err e;
    int fd = accept4(u->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd == -1) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* It would stay readable: look again when others may have closed some. */
            watch_arm(u->watch, WATCH_NONE);
            timer_after(u->wait, NO_FDS_WAIT_NS);
        }
        return;
    }
    if (unix_peer_of(fd, &peer, &e) == -1 || peer.uid != geteuid()) {
        (void)close(fd);
        return;
    }
    u->fn(u->ctx, fd, &peer); /* may free u */
}

static void
on_wait_over(void *ctx)
{
    struct unix_listener *u = ctx;

    watch_arm(u->watch, WATCH_READ);
}

/* Bind under a name of our own and rename, so that nobody meets a half-made socket. */
static int
bind_at(int fd, int dir_fd, const char *name, struct err *e)
{
    char tmp[32] = ".";
    struct sockaddr_un a;

    random_id(".s", tmp);
    address(&a, dir_fd, tmp);
    /* The mode of the socket's inode becomes that of the name (less umask). */
    if (fchmod(fd, 0600) == -1 || bind(fd, (struct sockaddr *)&a, sizeof a) == -1) {
        return err_set_sys(e, errno, "cannot make the socket '%s'", name);
    }
    if (listen(fd, BACKLOG) == -1 || renameat(dir_fd, tmp, dir_fd, name) == -1) {
        int saved = errno;

        (void)unlinkat(dir_fd, tmp, 0);
        return err_set_sys(e, saved, "cannot make the socket '%s'", name);
    }
    return 0;
}

int
unix_listen(struct unix_listener **out, struct loop *l, int dir_fd, const char *name,
            void (*fn)(void *ctx, int fd, const struct unix_peer *peer), void *ctx,
            struct err *e)
{
    struct unix_listener *u;

    if (check_name(name, e) == -1) {
        return -1;
    }
    u = xcalloc(1, sizeof *u);
    u->fd = -1;
    u->fn = fn;
    u->ctx = ctx;
    if (new_socket(&u->fd, e) == -1 || bind_at(u->fd, dir_fd, name, e) == -1 ||
        watch_new(&u->watch, l, u->fd, on_readable, u, e) == -1) {
        unix_listener_free(u);
        return -1;
    }
    u->wait = timer_new(l, on_wait_over, u);
    watch_arm(u->watch, WATCH_READ);
    *out = u;
    return 0;
}

void
unix_listener_free(struct unix_listener *u)
{
    if (u != NULL) {
        watch_free(u->watch);
        timer_free(u->wait);
        (void)fd_close(&u->fd);
        free(u);
    }
}

/* ---- connecting ---- */

static int
fail_connect(const char *name, int errnum, struct err *e)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        return err_set(e, ERR_NOT_FOUND, "there is no socket '%s'", name);
    case ECONNREFUSED:
        return err_set(e, ERR_LINK, "nobody listens on the socket '%s'", name);
    case EAGAIN:
        return err_set(e, ERR_BUSY, "the socket '%s' takes no more connections now",
                       name);
    case EACCES:
        return err_set(e, ERR_DENIED, "the socket '%s' is not ours", name);
    default:
        return err_set_sys(e, errnum, "cannot connect to the socket '%s'", name);
    }
}

int
unix_connect(int dir_fd, const char *name, int *fd, struct unix_peer *peer, struct err *e)
{
    struct sockaddr_un a;
    struct unix_peer who;
    struct stat st;
    int s = -1;
    int rc = -1;

    if (check_name(name, e) == -1) {
        return -1;
    }
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
        return fail_connect(name, errno, e);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(e, ERR_INVALID, "'%s' is not a socket", name);
    }
    address(&a, dir_fd, name);
    if (new_socket(&s, e) == -1) {
        goto out;
    }
    if (connect(s, (struct sockaddr *)&a, sizeof a) == -1) {
        fail_connect(name, errno, e);
        goto out;
    }
    if (unix_peer_of(s, &who, e) == -1) {
        goto out;
    }
    if (who.uid != geteuid()) {
        err_set(e, ERR_DENIED, "the socket '%s' belongs to user %u", name,
                (unsigned)who.uid);
        goto out;
    }
    if (peer != NULL) {
        *peer = who;
    }
    *fd = s;
    s = -1;
    rc = 0;

out:
    (void)fd_close(&s);
    return rc;
}

int
unix_pair(int fds[2], struct err *e)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == -1) {
        return err_set_sys(e, errno, "cannot make a pair of sockets");
    }
    return 0;
}
