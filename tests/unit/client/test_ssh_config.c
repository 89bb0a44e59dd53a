#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/client/ssh_config.h"
#include "runner/client/ssh_config_internal.h"

static void
write_file(const char *dir, const char *name, const char *text)
{
    char *path = path_join(dir, name);
    struct err e;

    assert_ok(file_replace(path, text, strlen(text), &e));
    free(path);
}

/* What the text says about a host; HOME is dir. */
static int
load(const char *dir, const char *text, const struct ssh_config_want *want,
     struct ssh_config *c, struct err *e)
{
    char *path = path_join(dir, "config");
    int rc;

    write_file(dir, "config", text);
    rc = ssh_config_load(want, dir, path, NULL, c, e);
    free(path);
    return rc;
}

static const struct ssh_config_want plain = {.host = "h"};

static void
ssh_config__without_files_is_the_host_itself(void **state)
{
    const struct ssh_config_want want = {.host = "Host.Example", .user = "u", .port = 7};
    char *missing = path_join(*state, "nothing");
    struct ssh_config c;
    struct err e;

    assert_ok(ssh_config_load(&want, *state, missing, missing, &c, &e));
    assert_string_equal(c.host_name, "host.example");
    assert_string_equal(c.user, "u");
    assert_int_equal(c.port, 7);
    assert_int_equal(c.n_identity, 0);
    assert_int_equal(c.n_user_known_hosts, 2);
    assert_int_equal(c.n_global_known_hosts, 2);
    assert_true(c.password_auth && c.kbdint_auth && c.pubkey_auth);
    assert_string_equal(c.needs_binary, "");
    ssh_config_free(&c);
    free(missing);
}

static void
ssh_config__first_value_counts_and_files_add_up(void **state)
{
    static const char text[] = "Port 1\n"
                               "Host other\n Port 9\n User nobody\n"
                               "Host h*\n"
                               "  HostName=%h.example\n"
                               "  port = 2\n"
                               "\tUser \"a b\"\n"
                               "  User second\n"
                               "  IdentityFile ~/.ssh/one # comment\n"
                               "  IdentityFile \"%d/two keys\"\n"
                               "  IdentityFile ~/.ssh/one\n"
                               "  UserKnownHostsFile ~/kh1 /kh2\n"
                               "  UserKnownHostsFile /kh3\n"
                               "  ConnectTimeout 5\n"
                               "  AddressFamily inet6\n"
                               "  IdentitiesOnly yes\n"
                               "  PasswordAuthentication no\n"
                               "Host *\n  Ciphers aes128-ctr\n";
    char *one = path_join(*state, ".ssh/one");
    char *two = path_join(*state, "two keys");
    char *kh1 = path_join(*state, "kh1");
    struct ssh_config_want want = plain;
    struct ssh_config c;
    struct err e;

    want.user = "said"; /* what the command line says comes first */
    assert_ok(load(*state, text, &want, &c, &e));
    assert_string_equal(c.host_name, "h.example");
    assert_string_equal(c.user, "said");
    assert_int_equal(c.port, 1);
    assert_int_equal(c.n_identity, 2);
    assert_string_equal(c.identity[0], one);
    assert_string_equal(c.identity[1], two);
    assert_int_equal(c.n_user_known_hosts, 2);
    assert_string_equal(c.user_known_hosts[0], kh1);
    assert_string_equal(c.user_known_hosts[1], "/kh2");
    assert_int_equal(c.connect_timeout_s, 5);
    assert_int_equal(c.address_family, AF_INET6);
    assert_true(c.identities_only);
    assert_false(c.password_auth);
    assert_string_equal(c.ciphers, "aes128-ctr");
    ssh_config_free(&c);
    free(one);
    free(two);
    free(kh1);
}

struct port_case {
    const char *text;
    const char *host;
    int port;
};

/* Which lines are about the host: each gives it port 7 or leaves it at 22. */
static const struct port_case port_cases[] = {
    {"Host h\nPort 7\n", "h", 7},
    {"Host x h\nPort 7\n", "h", 7},
    {"Host x\nPort 7\n", "h", 22},
    {"Host *.example !a.example\nPort 7\n", "b.example", 7},
    {"Host *.example !a.example\nPort 7\n", "a.example", 22},
    {"Host ?\nPort 7\n", "h", 7},
    {"Host ?\nPort 7\n", "hh", 22},
    {"HOST h\nPORT 7\n", "h", 7},
    {"Host h\r\nPort 7\r\n", "h", 7},
    {"Match all\nPort 7\n", "h", 7},
    {"Match host h\nPort 7\n", "h", 7},
    {"Match host x,h\nPort 7\n", "h", 7},
    {"Match !host h\nPort 7\n", "h", 22},
    {"Match !host x\nPort 7\n", "h", 7},
    {"Host h\nHostName real\nMatch host real\nPort 7\n", "h", 7},
    {"Host h\nHostName real\nMatch originalhost real\nPort 7\n", "h", 22},
    {"Host h\nHostName real\nMatch originalhost h host real\nPort 7\n", "h", 7},
    {"Match user nobody-at-all\nPort 7\n", "h", 22},
    {"User u\nMatch user u\nPort 7\n", "h", 7},
    {"Host x\nMatch all\nPort 7\n", "h", 7},
    {"Include inc\n", "h", 7},
    {"Host x\nInclude inc\n", "h", 22},
    {"Include in?\n", "h", 7},
    {"Include nothing-of-that-name\n", "h", 22},
    {"Host h\nInclude inc2\nPort 8\n", "h", 8}, /* inc2's Host x ends with it */
    {"# Port 7\n", "h", 22},
    {"", "h", 22},
};

static void
ssh_config__which_lines_count(void **state)
{
    char *ssh_dir = path_join(*state, ".ssh");
    struct err e;

    assert_ok(file_mkdirs(ssh_dir, 0700, &e));
    write_file(ssh_dir, "inc", "Port 7\n");
    write_file(ssh_dir, "inc2", "Host x\nUser nobody\n");
    for (size_t i = 0; i < sizeof port_cases / sizeof port_cases[0]; i++) {
        const struct port_case *p = &port_cases[i];
        const struct ssh_config_want want = {.host = p->host};
        struct ssh_config c;

        assert_ok(load(*state, p->text, &want, &c, &e));
        if (c.port != p->port || c.needs_binary[0] != '\0') {
            fail_msg("port %d, binary for '%s': %s", c.port, c.needs_binary, p->text);
        }
        ssh_config_free(&c);
    }
    free(ssh_dir);
}

struct binary_case {
    const char *text;
    const char *why; /* "": libssh will do */
};

static const struct binary_case binary_cases[] = {
    {"ProxyJump j\n", "ProxyJump"},
    {"ProxyJump none\n", ""},
    {"ProxyCommand nc %h %p\n", "ProxyCommand"},
    {"ProxyCommand none\nProxyJump j\n", ""}, /* the first of the two counts */
    {"Host x\nProxyJump j\n", ""},
    {"Match exec true\nPort 7\n", "Match exec"},
    {"Match host x exec true\nPort 7\n", ""},
    {"Match final\nPort 7\n", "Match final"},
    {"CanonicalizeHostname yes\n", "CanonicalizeHostname"},
    {"CanonicalizeHostname no\n", ""},
    {"CertificateFile ~/c\n", "CertificateFile"},
    {"PKCS11Provider /x.so\n", "PKCS11Provider"},
    {"GSSAPIAuthentication yes\n", ""}, /* Debian's default file says so */
    {"GSSAPIAuthentication yes\nPreferredAuthentications gssapi-with-mic,publickey\n",
     "GSSAPIAuthentication"},
    {"HostbasedAuthentication yes\n", "HostbasedAuthentication"},
    {"IdentityFile ~/.ssh/%C\n", "IdentityFile ~/.ssh/%C"},
    {"IdentityFile ~/${GPURUN_TEST_UNSET}\n", "IdentityFile ~/${GPURUN_TEST_UNSET}"},
    {"StrictHostKeyChecking no\nControlMaster auto\nForwardAgent yes\n", ""},
    {"NoSuchKeyword x\n", ""},
};

static void
ssh_config__what_needs_the_binary(void **state)
{
    for (size_t i = 0; i < sizeof binary_cases / sizeof binary_cases[0]; i++) {
        struct ssh_config c;
        struct err e;

        assert_ok(load(*state, binary_cases[i].text, &plain, &c, &e));
        assert_string_equal(c.needs_binary, binary_cases[i].why);
        ssh_config_free(&c);
    }
}

static void
ssh_config__bad_lines_are_named(void **state)
{
    static const char *const bad[] = {
        "Port\n",         "Port 0\n",  "Port 65536\n",    "Port x\n",
        "Host \"h\n",     "Match\n",   "Match host\n",    "ConnectTimeout -1\n",
        "HostName -oX\n", "User -l\n", "HostName \"\"\n", "HostName a\\;b\n"};
    struct ssh_config c = {.port = 77};
    struct err e;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused(load(*state, bad[i], &plain, &c, &e), ERR_INVALID);
    }
    assert_refused(load(*state, "\n\nPort x\n", &plain, &c, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "config:3:"));
    assert_int_equal(c.port, 77); /* untouched */
}

static void
ssh_config__names_that_look_like_options_are_refused(void **state)
{
    const struct ssh_config_want hosts[] = {
        {.host = "-oProxyCommand=x"}, {.host = ""},    {.host = "a b"},
        {.host = "h", .user = "-l"},  {.host = "h\n"}, {.host = "h;x"},
    };
    struct ssh_config c;
    struct err e;

    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        assert_refused(load(*state, "", &hosts[i], &c, &e), ERR_INVALID);
    }
}

static void
ssh_config__addresses_are_not_expanded(void **state)
{
    const struct ssh_config_want want = {.host = "fe80::1%eth0"};
    struct ssh_config c;
    struct err e;

    assert_ok(load(*state, "", &want, &c, &e));
    assert_string_equal(c.host_name, "fe80::1%eth0");
    assert_string_equal(c.needs_binary, "");
    ssh_config_free(&c);
}

static void
ssh_config__includes_without_end_are_refused(void **state)
{
    struct ssh_config c;
    struct err e;
    char *self = path_join(*state, "config");
    char *text = xasprintf("Include %s\n", self);

    assert_refused(load(*state, text, &plain, &c, &e), ERR_INVALID);
    free(text);
    free(self);
}

static void
ssh_config__files_of_others_are_refused(void **state)
{
    char *path = path_join(*state, "config");
    struct ssh_config c;
    struct err e;

    write_file(*state, "config", "Port 7\n");
    assert_int_equal(chmod(path, 0664), 0);
    assert_refused(ssh_config_load(&plain, *state, path, NULL, &c, &e), ERR_DENIED);
    assert_int_equal(chmod(path, 0644), 0);
    assert_ok(ssh_config_load(&plain, *state, path, NULL, &c, &e));
    ssh_config_free(&c);
    free(path);
}

/* ---- the copy for the binary ---- */

static void
read_copy(const char *path, struct buf *out)
{
    struct err e;

    buf_reset(out);
    assert_ok(file_read(path, 1 << 20, out, &e));
}

static void
ssh_config_copy__has_our_lines_first_and_paths_at_home(void **state)
{
    char *path = path_join(*state, "config");
    char *ssh_dir = path_join(*state, ".ssh");
    char *want_path = xasprintf("IdentityFile %s/.ssh/k\n", (char *)*state);
    struct ssh_config_copy copy;
    struct buf b = BUF_INIT;
    char *at;
    struct err e;

    assert_ok(file_mkdirs(ssh_dir, 0700, &e));
    write_file(ssh_dir, "inc", "CertificateFile \"%d/a b\"\n");
    write_file(
        *state, "config",
        "Host h\n  IdentityFile ~/.ssh/k\n  Include inc\n  ProxyCommand ssh ~/x\n");
    assert_ok(
        ssh_config_copy_make("First yes\n", *state, path, NULL, "Last yes\n", &copy, &e));
    assert_int_equal(copy.n, 3);
    read_copy(copy.path, &b);
    at = strstr(buf_str(&b), "First yes\nInclude /proc/");
    assert_ptr_equal(at, buf_str(&b));
    assert_non_null(strstr(at, "Match all\nLast yes\n"));
    at = xasprintf("/proc/%d/fd/%d", (int)getpid(), copy.fds[1]);
    read_copy(at, &b);
    free(at);
    assert_non_null(strstr(buf_str(&b), want_path));
    assert_non_null(strstr(buf_str(&b), "  ProxyCommand ssh ~/x\n"));
    assert_non_null(strstr(buf_str(&b), "Include /proc/"));
    at = xasprintf("/proc/%d/fd/%d", (int)getpid(), copy.fds[0]);
    read_copy(at, &b);
    free(at);
    at = xasprintf("CertificateFile \"%s/a b\"\n", (char *)*state);
    assert_string_equal(buf_str(&b), at);
    free(at);
    ssh_config_copy_free(&copy);
    buf_free(&b);
    free(want_path);
    free(ssh_dir);
    free(path);
}

static void
ssh_words__round_trip_through_quotes(void **state)
{
    static const char *const values[] = {"a",    "",    "a b", "a\"b",
                                         "a\\b", "a'b", "#a",  "a=b"};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct buf b = BUF_INIT;
        struct ssh_words w;
        struct err e;

        buf_add_str(&b, "Key ");
        ssh_word_quote(&b, values[i]);
        assert_ok(ssh_words_split(buf_str(&b), b.len, &w, &e));
        assert_int_equal(w.n, 2);
        assert_string_equal(w.v[1], values[i]);
        ssh_words_free(&w);
        buf_free(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ssh_config__without_files_is_the_host_itself),
        unit_test_in_dir(ssh_config__first_value_counts_and_files_add_up),
        unit_test_in_dir(ssh_config__which_lines_count),
        unit_test_in_dir(ssh_config__what_needs_the_binary),
        unit_test_in_dir(ssh_config__bad_lines_are_named),
        unit_test_in_dir(ssh_config__names_that_look_like_options_are_refused),
        unit_test_in_dir(ssh_config__addresses_are_not_expanded),
        unit_test_in_dir(ssh_config__includes_without_end_are_refused),
        unit_test_in_dir(ssh_config__files_of_others_are_refused),
        unit_test_in_dir(ssh_config_copy__has_our_lines_first_and_paths_at_home),
        cmocka_unit_test(ssh_words__round_trip_through_quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
