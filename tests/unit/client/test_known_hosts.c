#include "tests/unit/unit.h"

#include <sys/stat.h>

#include "runner/client/known_hosts.h"

/* Real keys, made by ssh-keygen for this test only; their private halves are gone. */
#define ED_A "AAAAC3NzaC1lZDI1NTE5AAAAIGNTYxntmpGKcmHyDVlhKZL31mYWvyVxKh4vaKutUDM5"
#define ED_B "AAAAC3NzaC1lZDI1NTE5AAAAIIN2AO9oAvFKbOSdyhuiaHIzliBHUyk08mvC8YK0jcQO"
#define EC_A                                                                             \
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNGzGCevd/ZN5aTJB6mTw1zo0hUd"   \
    "C+h3SXlPDhc1o01w8ULhGGFlSH5ylQr7s9gUQV7KDsNgIqSkGai/dryc/rY="

static struct ssh_pubkey
key_of(const char *b64)
{
    struct ssh_pubkey k;
    struct err e;

    assert_ok(ssh_pubkey_parse(b64, strlen(b64), &k, &e));
    return k;
}

/* What a file of this text says about name with that key. */
static enum known_host
ask(const char *dir, const char *text, const char *name, const char *plain,
    const char *b64)
{
    char *file = path_join(dir, "kh");
    const char *files[] = {"/nonexistent/known_hosts", file};
    struct ssh_pubkey k = key_of(b64);
    struct known_hosts *kh = NULL;
    enum known_host found;
    struct err e;

    assert_ok(file_replace(file, text, strlen(text), &e));
    assert_ok(known_hosts_load(files, 2, name, plain, &kh, &e));
    found = known_hosts_check(kh, &k);
    known_hosts_free(kh);
    ssh_pubkey_free(&k);
    free(file);
    return found;
}

struct line_case {
    const char *text;
    const char *name;
    const char *plain;
    const char *key;
    enum known_host want;
};

static const struct line_case cases[] = {
    {"", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"h ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_OK},
    {"h ssh-ed25519 " ED_A, "h", NULL, ED_A, KNOWN_HOST_OK}, /* no newline at the end */
    {"  \th\t ssh-ed25519   " ED_A " comment here\r\n", "h", NULL, ED_A, KNOWN_HOST_OK},
    {"H.Example ssh-ed25519 " ED_A "\n", "h.example", NULL, ED_A, KNOWN_HOST_OK},
    {"# h ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"#h ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"other ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"h ssh-ed25519 " ED_B "\n", "h", NULL, ED_A, KNOWN_HOST_CHANGED},
    {"h ecdsa-sha2-nistp256 " EC_A "\n", "h", NULL, ED_A, KNOWN_HOST_CHANGED},
    {"h ssh-ed25519 " ED_B "\nh ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_OK},
    {"a,h,b ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_OK},
    {"*.example,!bad.example ssh-ed25519 " ED_A "\n", "a.example", NULL, ED_A,
     KNOWN_HOST_OK},
    {"*.example,!bad.example ssh-ed25519 " ED_A "\n", "bad.example", NULL, ED_A,
     KNOWN_HOST_NONE},
    {"!h ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"10.0.0.? ssh-ed25519 " ED_A "\n", "10.0.0.7", NULL, ED_A, KNOWN_HOST_OK},
    {"10.0.0.? ssh-ed25519 " ED_A "\n", "10.0.0.77", NULL, ED_A, KNOWN_HOST_NONE},
    {"[h]:2222 ssh-ed25519 " ED_A "\n", "[h]:2222", "h", ED_A, KNOWN_HOST_OK},
    {"[h]:2222 ssh-ed25519 " ED_A "\n", "[h]:22222", "h", ED_A, KNOWN_HOST_NONE},
    /* A key known without the port is good; another one there says nothing. */
    {"h ssh-ed25519 " ED_A "\n", "[h]:2222", "h", ED_A, KNOWN_HOST_OK},
    {"h ssh-ed25519 " ED_B "\n", "[h]:2222", "h", ED_A, KNOWN_HOST_NONE},
    {"h ssh-ed25519 " ED_B "\n", "[h]:2222", NULL, ED_A, KNOWN_HOST_NONE},
    /* Revoked wins, in whatever order, also for patterns and the plain name. */
    {"h ssh-ed25519 " ED_A "\n@revoked h ssh-ed25519 " ED_A "\n", "h", NULL, ED_A,
     KNOWN_HOST_REVOKED},
    {"@revoked * ssh-ed25519 " ED_A "\nh ssh-ed25519 " ED_A "\n", "h", NULL, ED_A,
     KNOWN_HOST_REVOKED},
    {"@revoked h ssh-ed25519 " ED_A "\n[h]:2 ssh-ed25519 " ED_A "\n", "[h]:2", "h", ED_A,
     KNOWN_HOST_REVOKED},
    {"@revoked * ssh-ed25519 " ED_B "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    /* A certificate authority is not a host key. */
    {"@cert-authority h ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"@something h ssh-ed25519 " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    /* What cannot be understood is no key. */
    {"h ssh-ed25519\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"h\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"h ssh-ed25519 !!!!\n", "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"h ssh-rsa " ED_A "\n", "h", NULL, ED_A, KNOWN_HOST_NONE},  /* not that type */
    {"h 1024 35 123456789\n", "h", NULL, ED_A, KNOWN_HOST_NONE}, /* SSH 1 */
    /* ssh-keygen -H of "h" and of "[h]:2222" */
    {"|1|ZaNEp2Ry1e1SMBt4UUWq8S13zWU=|NpQBkyazHFXiaR2tqZTq7J4XE+w= ssh-ed25519 " ED_A
     "\n",
     "h", NULL, ED_A, KNOWN_HOST_OK},
    {"|1|ZaNEp2Ry1e1SMBt4UUWq8S13zWU=|NpQBkyazHFXiaR2tqZTq7J4XE+w= ssh-ed25519 " ED_A
     "\n",
     "g", NULL, ED_A, KNOWN_HOST_NONE},
    {"|1|ZaNEp2Ry1e1SMBt4UUWq8S13zWU=|NpQBkyazHFXiaR2tqZTq7J4XE+w ssh-ed25519 " ED_A "\n",
     "h", NULL, ED_A, KNOWN_HOST_NONE},
    {"|2|ZaNEp2Ry1e1SMBt4UUWq8S13zWU=|NpQBkyazHFXiaR2tqZTq7J4XE+w= ssh-ed25519 " ED_A
     "\n",
     "h", NULL, ED_A, KNOWN_HOST_NONE},
};

static void
known_hosts__lines(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct line_case *c = &cases[i];
        enum known_host got = ask(*state, c->text, c->name, c->plain, c->key);

        if (got != c->want) {
            fail_msg("case %zu: %d instead of %d: %s", i, (int)got, (int)c->want,
                     c->text);
        }
    }
}

static void
known_hosts__a_revoked_line_must_be_readable(void **state)
{
    char *file = path_join(*state, "kh");
    const char *files[] = {file};
    const char *text = "@revoked h ssh-ed25519 AAAA\n";
    struct known_hosts *kh = NULL;
    struct err e;

    assert_ok(file_replace(file, text, strlen(text), &e));
    assert_refused(known_hosts_load(files, 1, "h", NULL, &kh, &e), ERR_CORRUPT);
    assert_null(kh);
    assert_ok(known_hosts_load(files, 1, "other", NULL, &kh, &e));
    known_hosts_free(kh);
    free(file);
}

static void
known_hosts__tells_where_the_old_key_stands(void **state)
{
    char *file = path_join(*state, "kh");
    const char *files[] = {file};
    const char *text =
        "# one\nh ssh-ed25519 " ED_B "\n@cert-authority * ssh-ed25519 " ED_A
        "\nh ecdsa-sha2-nistp256 " EC_A "\n";
    struct known_hosts *kh = NULL;
    struct err e;

    assert_ok(file_replace(file, text, strlen(text), &e));
    assert_ok(known_hosts_load(files, 1, "h", NULL, &kh, &e));
    assert_int_equal(known_hosts_count(kh), 2);
    assert_string_equal(known_hosts_at(kh, 0)->file, file);
    assert_int_equal(known_hosts_at(kh, 0)->line, 2);
    assert_int_equal(known_hosts_at(kh, 1)->line, 4);
    assert_null(known_hosts_at(kh, 2));
    assert_true(known_hosts_has_type(kh, "ssh-ed25519"));
    assert_true(known_hosts_has_type(kh, "ecdsa-sha2-nistp256"));
    assert_false(known_hosts_has_type(kh, "ssh-rsa"));
    assert_true(known_hosts_has_ca(kh));
    known_hosts_free(kh);
    free(file);
}

static void
known_hosts__names_have_brackets_only_with_a_port(void **state)
{
    char *a = known_hosts_name("Host.Example", 22);
    char *b = known_hosts_name("FE80::1", 2222);

    (void)state;
    assert_string_equal(a, "host.example");
    assert_string_equal(b, "[fe80::1]:2222");
    free(a);
    free(b);
}

static void
assert_content(const char *file, const char *want)
{
    struct buf b = BUF_INIT;
    struct err e;

    assert_ok(file_read(file, 1 << 20, &b, &e));
    assert_string_equal(buf_str(&b), want);
    buf_free(&b);
}

static void
known_hosts_pin__adds_once_and_replaces_only_when_told(void **state)
{
    char *file = path_join(*state, "kh");
    struct ssh_pubkey a = key_of(ED_A);
    struct ssh_pubkey b = key_of(ED_B);
    struct stat st;
    struct err e;

    assert_ok(known_hosts_pin(file, "h", &a, false, &e));
    assert_ok(known_hosts_pin(file, "h", &a, false, &e));
    assert_content(file, "h ssh-ed25519 " ED_A "\n");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(known_hosts_pin(file, "h", &b, false, &e));
    assert_content(file, "h ssh-ed25519 " ED_A "\nh ssh-ed25519 " ED_B "\n");
    assert_ok(known_hosts_pin(file, "h", &b, true, &e));
    assert_content(file, "h ssh-ed25519 " ED_B "\n");
    ssh_pubkey_free(&a);
    ssh_pubkey_free(&b);
    free(file);
}

static void
known_hosts_pin__leaves_what_is_not_its_own(void **state)
{
    char *file = path_join(*state, "kh");
    const char *text = "# mine\n@revoked h ssh-ed25519 " ED_A "\nh,i ssh-ed25519 " ED_A
                       "\nhh ssh-ed25519 " ED_A "\nh ssh-ed25519 " ED_A;
    struct ssh_pubkey b = key_of(ED_B);
    struct err e;

    assert_ok(file_replace(file, text, strlen(text), &e));
    assert_ok(known_hosts_pin(file, "h", &b, true, &e));
    assert_content(file, "# mine\n@revoked h ssh-ed25519 " ED_A "\nh,i ssh-ed25519 " ED_A
                         "\nhh ssh-ed25519 " ED_A "\nh ssh-ed25519 " ED_B "\n");
    ssh_pubkey_free(&b);
    free(file);
}

static void
ssh_pubkey__fingerprints_as_ssh_keygen(void **state)
{
    struct ssh_pubkey k = key_of(ED_A);
    char fp[SSH_FINGERPRINT_MAX];

    (void)state;
    assert_string_equal(k.type, "ssh-ed25519");
    ssh_pubkey_fingerprint(&k, fp);
    assert_string_equal(fp, "SHA256:k3n99iEhOXyAvS8TnKs6yy7Cy2Wuy+IRAVFCz1KrhCc");
    assert_true(ssh_pubkey_is(&k, fp));
    assert_true(ssh_pubkey_is(&k, "SHA256:k3n99iEhOXyAvS8TnKs6yy7Cy2Wuy+IRAVFCz1KrhCc="));
    fp[10] = fp[10] == 'A' ? 'B' : 'A';
    assert_false(ssh_pubkey_is(&k, fp));
    assert_false(ssh_pubkey_is(&k, ""));
    assert_false(ssh_pubkey_is(&k, "SHA256:"));
    ssh_pubkey_free(&k);
}

static void
ssh_pubkey__refuses_what_is_no_key(void **state)
{
    static const char *const bad[] = {
        "",
        "A",
        "AAAA",
        "AAAAC3NzaC1lZDI1NTE5AAAA====",         /* too much padding */
        "AAAAC3NzaC1lZDI1NTE5AAAAIB==",         /* bits under the padding */
        "AAAAC3NzaC1lZDI1N\nTE5",               /* a newline */
        "/////3NzaC1lZDI1NTE5AAAAIIyLhCqpF64z", /* a length beyond the end */
        "AAAAAAAAAAAA",                         /* an empty type */
        "AAAABAAAAAAA",                         /* NULs for a type */
    };
    struct ssh_pubkey k = {.len = 7};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused(ssh_pubkey_parse(bad[i], strlen(bad[i]), &k, &e), ERR_CORRUPT);
    }
    assert_int_equal(k.len, 7); /* untouched */
}

static void
ssh_fingerprint__only_sha256_of_full_length(void **state)
{
    struct err e;

    (void)state;
    assert_ok(
        ssh_fingerprint_check("SHA256:k3n99iEhOXyAvS8TnKs6yy7Cy2Wuy+IRAVFCz1KrhCc", &e));
    assert_refused(ssh_fingerprint_check("MD5:aa:bb", &e), ERR_INVALID);
    assert_refused(ssh_fingerprint_check("SHA256:short", &e), ERR_INVALID);
    assert_refused(
        ssh_fingerprint_check("SHA256:k3n99iEhOXyAvS8TnKs6yy7Cy2Wuy+IRAVFCz1KrhCcx", &e),
        ERR_INVALID);
    assert_refused(
        ssh_fingerprint_check("k3n99iEhOXyAvS8TnKs6yy7Cy2Wuy+IRAVFCz1KrhCc", &e),
        ERR_INVALID);
    assert_refused(ssh_fingerprint_check("", &e), ERR_INVALID);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(known_hosts__lines),
        unit_test_in_dir(known_hosts__a_revoked_line_must_be_readable),
        unit_test_in_dir(known_hosts__tells_where_the_old_key_stands),
        cmocka_unit_test(known_hosts__names_have_brackets_only_with_a_port),
        unit_test_in_dir(known_hosts_pin__adds_once_and_replaces_only_when_told),
        unit_test_in_dir(known_hosts_pin__leaves_what_is_not_its_own),
        cmocka_unit_test(ssh_pubkey__fingerprints_as_ssh_keygen),
        cmocka_unit_test(ssh_pubkey__refuses_what_is_no_key),
        cmocka_unit_test(ssh_fingerprint__only_sha256_of_full_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
