#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/git_index.h"
#include "tests/unit/storage/guard.h"
#include "tests/unit/unit.h"

#define HASH_BYTES 20

static void
add_be16(struct buf *b, unsigned v)
{
    buf_add_u8(b, (uint8_t)(v >> 8));
    buf_add_u8(b, (uint8_t)v);
}

static void
add_be32(struct buf *b, uint32_t v)
{
    add_be16(b, v >> 16);
    add_be16(b, v & 0xffff);
}

static void
begin(struct buf *b, uint32_t version, uint32_t count)
{
    buf_reset(b);
    buf_add_str(b, "DIRC");
    add_be32(b, version);
    add_be32(b, count);
}

/* The part before the name; len as the flags tell it. */
static void
add_head(struct buf *b, unsigned len)
{
    for (size_t i = 0; i < 40 + HASH_BYTES; i++) {
        buf_add_u8(b, (uint8_t)i);
    }
    add_be16(b, len);
}

/* An entry of version 2. */
static void
add_entry(struct buf *b, const char *name)
{
    size_t from = b->len;

    add_head(b, (unsigned)strlen(name));
    buf_add_str(b, name);
    do {
        buf_add_u8(b, 0);
    } while ((b->len - from) % 8 != 0);
}

/* One of version 4: drop bytes of the name before it, then tail. */
static void
add_packed(struct buf *b, unsigned len, uint8_t drop, const char *tail)
{
    add_head(b, len);
    buf_add_u8(b, drop);
    buf_add(b, tail, strlen(tail) + 1);
}

static bool
has(const struct git_index *x, const char *path)
{
    return git_index_has(x, path, strlen(path));
}

static bool
below(const struct git_index *x, const char *path)
{
    return git_index_below(x, path, strlen(path));
}

static void
names_are_found(void **state)
{
    struct buf b = BUF_INIT;
    struct git_index *x;

    (void)state;
    begin(&b, 2, 7);
    add_entry(&b, "a-b/c");
    add_entry(&b, "a/b/c");
    add_entry(&b, "ab");
    add_entry(&b, "ab"); /* two stages of a merge */
    add_entry(&b, "s/"); /* a folder that is not checked out */
    add_entry(&b, "z");
    add_entry(&b, "z!"); /* lengths count where one begins like the other */
    x = git_index_parse(b.data, b.len);
    assert_non_null(x);
    assert_true(has(x, "a-b/c") && has(x, "a/b/c") && has(x, "ab"));
    assert_false(has(x, "a") || has(x, "a/b") || has(x, "abc") || has(x, "b") ||
                 has(x, "") || has(x, "aa") || has(x, "a-a/c") || has(x, "a/b/b"));
    assert_true(below(x, "a") && below(x, "a/b") && below(x, "a-b") && below(x, "s"));
    assert_false(below(x, "a/b/c") || below(x, "ab") || below(x, "") || below(x, "a-"));
    git_index_free(x);
    buf_free(&b);
}

static void
version_4_tells_what_differs(void **state)
{
    char name[301];
    struct buf b = BUF_INIT;
    struct git_index *x;

    (void)state;
    begin(&b, 4, 3);
    add_packed(&b, 6, 0, "dir/aa");
    add_packed(&b, 6, 1, "b");
    add_packed(&b, 1, 6, "e");
    x = git_index_parse(b.data, b.len);
    assert_non_null(x);
    assert_true(has(x, "dir/aa") && has(x, "dir/ab") && has(x, "e"));
    git_index_free(x);

    memset(name, 'n', 300);
    name[300] = '\0';
    begin(&b, 4, 2);
    add_packed(&b, 300, 0, name);
    add_head(&b, 101);
    buf_add(&b, "\x80\x48z", 4); /* 200 of them go */
    x = git_index_parse(b.data, b.len);
    name[100] = 'z';
    name[101] = '\0';
    assert_non_null(x);
    assert_true(has(x, name));
    git_index_free(x);
    begin(&b, 4, 1);
    add_head(&b, 1);
    buf_add(&b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7fz", 14);
    assert_null(git_index_parse(b.data, b.len));

    begin(&b, 4, 2);
    add_packed(&b, 2, 0, "aa");
    add_packed(&b, 1, 3, "b"); /* more than there is */
    assert_null(git_index_parse(b.data, b.len));
    buf_free(&b);
}

static void
a_long_name_has_no_length_in_its_flags(void **state)
{
    char name[5000];
    struct buf b = BUF_INIT;
    struct git_index *x;

    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    begin(&b, 4, 1);
    add_packed(&b, 0xfff, 0, name);
    x = git_index_parse(b.data, b.len);
    assert_non_null(x);
    assert_true(has(x, name));
    git_index_free(x);
    buf_free(&b);
}

/* What is not whole is none: every torn length, a count too high, another order. */
static void
what_is_damaged_is_none(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    begin(&b, 2, 2);
    add_entry(&b, "a");
    add_entry(&b, "b");
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *exact = xmemdup(b.data, n > 0 ? n : 1);

        assert_null(git_index_parse(exact, n));
        free(exact);
    }
    for (size_t i = 0; i < 4; i++) {
        b.data[i] ^= 1; /* its signature */
        assert_null(git_index_parse(b.data, b.len));
        b.data[i] ^= 1;
    }
    begin(&b, 2, 2);
    add_entry(&b, "b");
    add_entry(&b, "a");
    assert_null(git_index_parse(b.data, b.len));
    begin(&b, 2, 1);
    add_entry(&b, "");
    assert_null(git_index_parse(b.data, b.len));
    for (uint32_t version = 0; version < 7; version += version == 1 ? 4 : 1) {
        begin(&b, version, 0);
        assert_null(git_index_parse(b.data, b.len));
    }
    begin(&b, 2, 0xffffffff);
    add_entry(&b, "a");
    assert_null(git_index_parse(b.data, b.len));
    begin(&b, 2, 1);
    add_head(&b, 2); /* the flags say two, the name has one */
    buf_add(&b, "a\0\0\0\0\0\0\0\0", 9);
    assert_null(git_index_parse(b.data, b.len));
    buf_free(&b);
}

static void
none_holds_nothing(void **state)
{
    struct buf b = BUF_INIT;
    struct git_index *x;

    (void)state;
    assert_false(git_index_has(NULL, "a", 1) || git_index_below(NULL, "a", 1));
    begin(&b, 2, 0);
    x = git_index_parse(b.data, b.len);
    assert_non_null(x);
    assert_false(has(x, "a") || below(x, "a"));
    git_index_free(x);
    assert_null(git_index_read(AT_FDCWD)); /* no file "index" where tests run */
    buf_free(&b);
}

/* Where the folder is elsewhere, a file says so in one line, however that ends. */
static void
the_folder_may_be_elsewhere(void **state)
{
    static const char *const lines[] = {"gitdir: real/git", "gitdir: real/git\n",
                                        "gitdir: real/git\r\n", "gitdir: real/git\n\n"};
    static const char *const wrong[] = {"gitdir: ",          "gitdir:real/git",
                                        "gitdip: real/git",  "real/git",
                                        "gitdir: nowhere\n", ""};
    const char *dir = *state;
    char *git = path_join(dir, ".git");
    char *real = path_join(dir, "real/git");
    char *common = path_join(dir, "real/git/commondir");
    char *in_whole = path_join(dir, "real/whole/here");
    int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e = {0};
    int git_fd = -1;
    int fd;

    assert_true(root >= 0);
    assert_int_equal(file_mkdirs(real, 0755, &e), 0);
    assert_int_equal(file_mkdirs(in_whole, 0755, &e), 0);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(file_replace(git, lines[i], strlen(lines[i]), &e), 0);
        (void)fd_close(&git_fd);
        git_fd = git_dir_open(root);
        assert_true(git_fd >= 0);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(file_replace(git, wrong[i], strlen(wrong[i]), &e), 0);
        assert_int_equal(git_dir_open(root), -1);
    }
    fd = git_common_dir_open(git_fd);
    assert_true(fd >= 0 && faccessat(fd, "here", F_OK, 0) == -1);
    (void)close(fd);
    assert_int_equal(file_replace(common, "../whole\n", 9, &e), 0);
    fd = git_common_dir_open(git_fd);
    assert_true(fd >= 0 && faccessat(fd, "here", F_OK, 0) == 0);
    (void)close(fd);
    (void)close(git_fd);
    (void)close(root);
    free(git);
    free(real);
    free(common);
    free(in_whole);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(version_4_tells_what_differs),
        cmocka_unit_test(a_long_name_has_no_length_in_its_flags),
        cmocka_unit_test(what_is_damaged_is_none),
        cmocka_unit_test(none_holds_nothing),
        unit_test_in_dir(the_folder_may_be_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
