#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/authkeys.h"

#define BLOB "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
#define KEY  "ssh-ed25519 " BLOB
#define ID   "0123456789abcdef"
#define OURS                                                                             \
    "restrict,command=\"/x/gpurun-agent serve --renter " ID "\" " KEY " gpurun:ann\n"

static void
key__is_read_as_openssh_writes_it(void **state)
{
    static const char *const good[] = {KEY, KEY " comment with spaces", "  \t" KEY "\r\n",
                                       ("ssh-ed25519\t" BLOB)};
    static const char *const bad[] = {"",
                                      "# " KEY,
                                      "ssh-ed25519",
                                      "ssh-ed25519 ",
                                      "ssh-rsa " BLOB,      /* another type inside */
                                      "ssh-ed25519 !!!!",   /* no base64 */
                                      "ssh-ed25519 AAAA",   /* too short */
                                      "ssh-ed25519x " BLOB, /* no such type */
                                      "command=\"x\" " KEY, /* options are ours */
                                      "-----BEGIN OPENSSH PRIVATE KEY-----"};
    char id[SIGN_ID_LEN + 1] = "";

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct authkey k;
        struct err e = {0};

        assert_ok(authkey_parse(&k, good[i], &e));
        assert_string_equal(k.type, "ssh-ed25519");
        assert_string_equal(k.blob, BLOB);
        assert_int_equal(strlen(k.id), SIGN_ID_LEN);
        assert_true(id[0] == '\0' || strcmp(id, k.id) == 0);
        memcpy(id, k.id, sizeof id);
        authkey_free(&k);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct authkey k;
        struct err e;

        assert_refused(authkey_parse(&k, bad[i], &e), ERR_INVALID);
    }
}

static void
edit__touches_our_lines_only(void **state)
{
    static const struct {
        const char *in;
        const char *line;
        const char *out;
        int n;
    } cases[] = {
        {"", NULL, "", 0},
        {"", "new", "new\n", 0},
        {"no newline", "new", "no newline\nnew\n", 0},
        {"# comment\n\n  odd  line\n", NULL, "# comment\n\n  odd  line\n", 0},
        {"a\n" OURS "b\n", NULL, "a\nb\n", 1},
        {"a\n" OURS OURS "b\n", "new", "a\nb\nnew\n", 2},
        /* another renter's, and one that only looks like ours */
        {"command=\"x serve --renter fedcba9876543210\" k\n", NULL,
         "command=\"x serve --renter fedcba9876543210\" k\n", 0},
        {"# serve --renter " ID "\n", NULL, "# serve --renter " ID "\n", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf in = BUF_INIT;
        struct buf out = BUF_INIT;
        struct err e = {0};
        int n = -1;

        buf_add_str(&in, cases[i].in);
        assert_ok(authkeys_edit(&in, "serve --renter", ID, "other-blob", cases[i].line,
                                &out, &n, &e));
        assert_string_equal(buf_str(&out), cases[i].out);
        assert_int_equal(n, cases[i].n);
        buf_free(&in);
        buf_free(&out);
    }
}

/* sshd takes the first line of a key: a plain one before ours would let it in whole. */
static void
edit__refuses_a_key_that_has_a_line_of_its_own(void **state)
{
    struct buf in = BUF_INIT;
    struct buf out = BUF_INIT;
    struct err e;
    int n;

    (void)state;
    buf_add_str(&in, "x\n" KEY " me@home\n");
    assert_refused(authkeys_edit(&in, "serve --renter", ID, BLOB, "new", &out, &n, &e),
                   ERR_EXISTS);
    buf_reset(&out);
    buf_reset(&in);
    buf_add_str(&in, "# " KEY " was here\n"); /* a comment lets nobody in */
    assert_ok(authkeys_edit(&in, "serve --renter", ID, BLOB, "new", &out, &n, &e));
    buf_free(&in);
    buf_free(&out);
}

static void
file__keeps_mode_link_and_everything_else(void **state)
{
    char *ssh = path_join(*state, ".ssh");
    char *link_path = path_join(ssh, "authorized_keys");
    char *target = path_join(*state, "elsewhere");
    struct authkey k;
    struct buf b = BUF_INIT;
    struct stat sb;
    struct err e = {0};
    int n = 0;

    assert_int_equal(setenv("HOME", *state, 1), 0);
    assert_ok(authkey_parse(&k, KEY, &e));
    /* Nothing there yet: made, closed to others. */
    assert_ok(authkeys_allow(&k, "/x/gpurun-agent", "serve --renter", 0, "ann", &e));
    assert_int_equal(stat(link_path, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0600);
    assert_int_equal(unlink(link_path), 0);

    assert_ok(file_replace(target, "mine\n", 5, &e));
    assert_int_equal(chmod(target, 0640), 0);
    assert_int_equal(symlink(target, link_path), 0);
    assert_ok(authkeys_allow(&k, "/x/gpurun-agent", "serve --renter", 4070908800000000000,
                             "ann", &e));
    assert_ok(authkeys_allow(&k, "/x/gpurun-agent", "serve --renter", 4070908800000000000,
                             "ann", &e));
    assert_int_equal(lstat(link_path, &sb), 0);
    assert_true(S_ISLNK(sb.st_mode));
    assert_int_equal(stat(target, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0640);
    assert_ok(file_read(target, 10000, &b, &e));
    assert_memory_equal(buf_str(&b), "mine\nrestrict,", 14);
    assert_non_null(strstr(buf_str(&b), "expiry-time=\"209901010000Z\","));
    assert_non_null(strstr(buf_str(&b), KEY " gpurun:ann\n"));
    assert_null(strstr(strstr(buf_str(&b), "restrict") + 1, "restrict")); /* once */

    assert_ok(authkeys_revoke("serve --renter", "fedcba9876543210", &n, &e));
    assert_int_equal(n, 0);
    assert_ok(authkeys_revoke("serve --renter", k.id, &n, &e));
    assert_int_equal(n, 1);
    buf_reset(&b);
    assert_ok(file_read(target, 10000, &b, &e));
    assert_string_equal(buf_str(&b), "mine\n");

    assert_refused(
        authkeys_allow(&k, "/a\"b/gpurun-agent", "serve --renter", 0, "ann", &e),
        ERR_INVALID);
    buf_reset(&b);
    assert_ok(file_read(target, 10000, &b, &e));
    assert_string_equal(buf_str(&b), "mine\n");
    authkey_free(&k);
    buf_free(&b);
    free(ssh);
    free(link_path);
    free(target);
}

static void
load__wants_a_public_key(void **state)
{
    char *path = path_join(*state, "key.pub");
    struct authkey k;
    struct err e = {0};
    static const char private[] = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n";
    static const char commented[] = "# mine\n\n" KEY " me\n";

    assert_refused(authkey_load(&k, path, &e), ERR_NOT_FOUND);
    assert_ok(file_replace(path, private, sizeof private - 1, &e));
    assert_refused(authkey_load(&k, path, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "private key"));
    assert_ok(file_replace(path, "", 0, &e));
    assert_refused(authkey_load(&k, path, &e), ERR_INVALID);
    assert_ok(file_replace(path, commented, sizeof commented - 1, &e));
    assert_ok(authkey_load(&k, path, &e));
    assert_string_equal(k.blob, BLOB);
    authkey_free(&k);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key__is_read_as_openssh_writes_it),
        cmocka_unit_test(edit__touches_our_lines_only),
        cmocka_unit_test(edit__refuses_a_key_that_has_a_line_of_its_own),
        unit_test_in_dir(file__keeps_mode_link_and_everything_else),
        unit_test_in_dir(load__wants_a_public_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
