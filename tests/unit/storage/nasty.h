#ifndef TESTS_UNIT_STORAGE_NASTY_H
#define TESTS_UNIT_STORAGE_NASTY_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "tests/unit/storage/tree_util.h"

/* A directory with everything that is hard to keep, and a judge of copies. */

static inline void
set_mtime(const char *dir, const char *name, int64_t s, int64_t ns)
{
    char *path = path_join(dir, name);
    const struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = s, .tv_nsec = ns}};

    assert_int_equal(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
    free(path);
}

/* A user attribute; false where the file system has none. */
static inline bool
set_attr(const char *dir, const char *name, const char *attr, const void *value,
         size_t len)
{
    char *path = path_join(dir, name);
    int rc = lsetxattr(path, attr, value, len, 0);

    free(path);
    return rc == 0;
}

static inline void
make_socket(const char *dir, const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int n = snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", dir, name);

    assert_true(fd != -1 && n < (int)sizeof a.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    (void)close(fd);
}

static inline void
make_sparse(const char *dir, const char *name, uint64_t size)
{
    char *path = path_join(dir, name);
    int fd = open(path, O_RDWR | O_CREAT, 0644);

    assert_true(fd != -1);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(fd_pwrite_all(fd, "begin", 5, 0), 0);
    assert_int_equal(fd_pwrite_all(fd, "middle", 6, (off_t)(size / 2 + 1)), 0);
    assert_int_equal(fd_pwrite_all(fd, "end", 3, (off_t)size - 3), 0);
    (void)close(fd);
    free(path);
}

static inline void
make_nasty(const char *dir)
{
    /* an ACL: user::rw-, user:1:r--, group::r--, mask::r--, other::r-- */
    static const uint8_t acl[] = {2,   0,   0,   0,   1,   0,   6,  0,   255, 255, 255,
                                  255, 2,   0,   4,   0,   1,   0,  0,   0,   4,   0,
                                  4,   0,   255, 255, 255, 255, 16, 0,   4,   0,   255,
                                  255, 255, 255, 32,  0,   4,   0,  255, 255, 255, 255};
    char longest[256];
    char *a = path_join(dir, "d/first");
    char *b = path_join(dir, "d/second");
    char *c = path_join(dir, "a-link");
    char *s = path_join(dir, "sym");
    char *s2 = path_join(dir, "sym2");
    char *fifo = path_join(dir, "fifo");
    char *ro = path_join(dir, "readonly");
    char *setuid = path_join(dir, "setuid");

    memset(longest, 'L', 255);
    longest[255] = '\0';
    put_text(dir, longest, "long");
    put_text(dir, "new\nline", "1");
    put_text(dir, "bad\xff\xfe utf8", "2");
    put_text(dir, " leading and trailing ", "3");
    put_text(dir, "-rf", "4");
    put_text(dir, "\\", "5");
    put_text(dir, "empty", "");
    put_random(dir, "d/first", 1000, 1);
    put_random(dir, "big", 3 << 20, 2);
    put_random(dir, "d/edge", 131072, 3);
    put_random(dir, "d/below", 131071, 4);
    for (int i = 0; i < 40; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "many/%d/f%d", i % 5, i);
        put_random(dir, name, (size_t)i * 997 % 20000, (uint64_t)i);
        set_mtime(dir, name, 1600000000 + i, i * 1000 + 1);
    }
    assert_int_equal(link(a, b), 0);
    assert_int_equal(link(a, c), 0);
    assert_int_equal(symlink("nowhere/at all", s), 0);
    assert_int_equal(mkfifo(fifo, 0640), 0);
    make_socket(dir, "socket");
    make_sparse(dir, "sparse", 64 << 20);
    make_sparse(dir, "holes", 1 << 20);
    set_mtime(dir, "empty", -12345678901, 999999999);
    set_mtime(dir, "d/first", -1, 1);
    set_mtime(dir, "sym", 5, 7);
    set_mtime(dir, "fifo", 1, 123456789);
    put_text(dir, "setuid", "#!");
    put_text(dir, "readonly/inside", "x");
    if (set_attr(dir, "-rf", "user.note", "a\0b", 3)) {
        (void)set_attr(dir, "d", "user.dir", "", 0);
        (void)set_attr(dir, "big", "user.big", "value", 5);
        (void)set_attr(dir, "empty", "system.posix_acl_access", acl, sizeof acl);
        (void)set_attr(dir, "many", "system.posix_acl_default", acl, sizeof acl);
    }
    if (geteuid() == 0) {
        char *dev = path_join(dir, "null");

        assert_int_equal(mknod(dev, S_IFCHR | 0666, makedev(1, 3)), 0);
        assert_int_equal(link(s, s2), 0);
        assert_int_equal(chown(a, 12345, 54321), 0);
        assert_int_equal(lchown(s, 1, 2), 0);
        (void)set_attr(dir, "sym", "trusted.note", "t", 1);
        free(dev);
    }
    assert_int_equal(chmod(setuid, 06755), 0);
    assert_int_equal(chmod(ro, 0555), 0);
    set_mtime(dir, "d", 1000000000, 5);
    set_mtime(dir, ".", 999999999, 6);
    free(a);
    free(b);
    free(c);
    free(s);
    free(s2);
    free(fifo);
    free(ro);
    free(setuid);
}

/* What rsync would still have to do to make `to` like `from`: nothing, or the test fails.
 */
static inline void
assert_same_trees(const char *from, const char *to)
{
    char *cmd = xasprintf("rsync -n%sHAXc --delete --itemize-changes '%s/' '%s/' 2>&1",
                          geteuid() == 0 ? "a" : "rlpt", from, to);
    FILE *p = popen(cmd, "r"); /* NOLINT(cert-env33-c): names of ours */
    char line[1024];
    bool differ = false;

    assert_non_null(p);
    while (fgets(line, sizeof line, p) != NULL) {
        (void)fprintf(stderr, "rsync: %s", line);
        differ = true;
    }
    assert_int_equal(pclose(p), 0);
    assert_false(differ);
    free(cmd);
}

#endif
