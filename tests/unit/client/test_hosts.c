#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/client/hosts.h"

struct target {
    const char *text;
    const char *want; /* "user address port identity jump [remark]", "-" for none; NULL:
                         refused */
};

static const struct target targets[] = {
    {"gpu.example", "- gpu.example 0 - -"},
    {"root@gpu.example", "root gpu.example 0 - -"},
    {"root@gpu.example:35394", "root gpu.example 35394 - -"},
    {"gpu.example:22", "- gpu.example 22 - -"},
    {"ssh://root@gpu.example:35394", "root gpu.example 35394 - -"},
    {"10.0.0.1:2222", "- 10.0.0.1 2222 - -"},
    {"[fe80::1]:2222", "- fe80::1 2222 - -"},
    {"a@[::1]", "a ::1 0 - -"},
    {"fe80::1", "- fe80::1 0 - -"},
    {"user@domain@host", "user@domain host 0 - -"},
    {"ssh -p 35394 root@connect.example", "root connect.example 35394 - -"},
    {"ssh -p35394 root@connect.example", "root connect.example 35394 - -"},
    {"ssh root@connect.example -p 35394", "root connect.example 35394 - -"},
    {"ssh  -l root  connect.example", "root connect.example 0 - -"},
    {"ssh -p 1 root@h -L 8080:localhost:8080", "root h 1 - - remark"},
    {"ssh -NT -i ~/.ssh/k root@h", "root h 0 ~/.ssh/k - remark"},
    {"ssh -i '/a b/k' root@h", "root h 0 /a b/k -"},
    {"ssh -J jump@j:22 root@h", "root h 0 - jump@j:22"},
    {"ssh -o Port=77 -o User=u -o StrictHostKeyChecking=no h", "u h 77 - - remark"},
    {"ssh -o HostName=10.1.1.1 label", "- 10.1.1.1 0 - -"},
    {" \n ssh -p 1 root@h\r\n", "root h 1 - -"},
    {"$ ssh -p 1 root@h", "root h 1 - -"},
    {"root@box:~# ssh -p 1 root@h", "root h 1 - -"},
    {"ssh\t-p\t1 root@h", "root h 1 - -"},
    {"ssh -p\xc2\xa0"
     "1 root@h",
     "root h 1 - -"},
    {"\xe7\x99\xbb\xe5\xbd\x95\xef\xbc\x9a"
     "ssh -p 1 root@h",
     "root h 1 - -"},
    {"Login: ssh -p 1 root@h;", "root h 1 - -"},
    {"`ssh -p 1 root@h`", "root h 1 - -"},
    {"ssh -p 1 \\\n root@h", "root h 1 - -"},
    {"ssh -p 1 root@h # 4090", "root h 1 - -"},
    {"ssh -p 1 root@h --", "root h 1 - -"},
    {"ssh -p 1 -- root@h", "root h 1 - -"},
    /* as a chat or a word processor has it */
    {"ssh \xe2\x80\x93p 1 \xe2\x80\x93i \xe2\x80\x98/a b\xe2\x80\x99 root@h",
     "root h 1 /a b -"},
    {"  gpu.example ", "- gpu.example 0 - -"},
    {"ssh -p 1 root@h; rm -rf x", NULL},
    {"ssh -p 1 root@h\nrm", NULL},
    {"openssh -p 1 root@h", NULL},
    {"", NULL},
    {"-oProxyCommand=x", NULL},
    {"root@-h", NULL},
    {"-l@h", NULL},
    {"h:0", NULL},
    {"h:65536", NULL},
    {"h:", NULL},
    {"h:22x", NULL},
    {"@h", NULL},
    {"[::1", NULL},
    {"[::1]x", NULL},
    {"h;rm -rf", NULL},
    {"h\nx", NULL},
    {"h$(x)", NULL},
    {"ssh ", NULL},
    {"ssh -p", NULL},
    {"ssh -p 22", NULL},
    {"ssh -Z h", NULL},
    {"ssh h uptime", NULL},
    {"ssh h -- uptime", NULL},
    {"ssh -- -Jx", NULL},
    {"ssh -o ProxyCommand=nc h", NULL},
    {"ssh -i 'k root@h", NULL},
};

static const char *
or_dash(const char *s)
{
    return s != NULL ? s : "-";
}

static void
host_parse_target__reads_what_consoles_show(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        const struct target *t = &targets[i];
        struct host h;
        struct err e = {0};
        char *remark = NULL;
        int rc;

        host_init(&h);
        rc = host_parse_target(&h, t->text, &remark, &e);
        if (t->want == NULL) {
            if (rc == 0) {
                fail_msg("'%s' was taken as %s", t->text, h.address);
            }
            assert_int_equal(e.code, ERR_INVALID);
            assert_null(h.address);
            continue;
        }
        if (rc != 0) {
            fail_msg("'%s': %s", t->text, e.msg);
        } else {
            char *got = xasprintf("%s %s %d %s %s%s", or_dash(h.user), h.address, h.port,
                                  or_dash(h.identity), or_dash(h.jump),
                                  remark != NULL ? " remark" : "");

            if (strcmp(got, t->want) != 0) {
                fail_msg("'%s' is %s, not %s", t->text, got, t->want);
            }
            free(got);
        }
        free(remark);
        host_free(&h);
    }
}

static void
host_name_check__lets_nothing_odd_into_a_file_name(void **state)
{
    static const char *const good[] = {"a", "h1", "gpu-box.example", "A_b", "9"};
    static const char *const bad[] = {"",      ".",  "..",  "-a", "a/b",     "a b",
                                      ".lock", "_x", "a\n", "ä",  "x\x1b[0m"};
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(host_name_check(good[i], &e), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(host_name_check(bad[i], &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
    }
}

static int
make_home(void **state)
{
    char *dir = xstrdup("/tmp/test_hosts.XXXXXX");

    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int
remove_home(void **state)
{
    struct err e = {0};
    int rc = file_remove_tree(*state, &e);

    free(*state);
    return rc;
}

static struct host
sample(const char *name)
{
    struct host h;
    struct err e = {0};
    char *remark = NULL;

    host_init(&h);
    h.name = xstrdup(name);
    assert_int_equal(host_parse_target(&h, "root@h.example:2200", &remark, &e), 0);
    assert_int_equal(host_add_price(&h, "4090=1.88", &e), 0);
    assert_int_equal(host_add_price(&h, "4090=1.90", &e), 0);
    assert_int_equal(host_add_price(&h, "disk=0.0066", &e), 0);
    assert_int_equal(host_add_env(&h, "A=b c", &e), 0);
    h.pinned = true;
    memset(h.key.b, 7, sizeof h.key.b);
    return h;
}

static void
hosts_save__is_read_back_and_never_replaces_by_accident(void **state)
{
    struct home *home = NULL;
    struct host h = sample("north");
    struct host got;
    struct host_list l;
    struct err e = {0};

    assert_int_equal(home_open(&home, *state, &e), 0);
    assert_int_equal(hosts_save(home, &h, true, &e), 0);
    assert_int_equal(hosts_save(home, &h, true, &e), -1);
    assert_int_equal(e.code, ERR_EXISTS);
    assert_int_equal(hosts_save(home, &h, false, &e), 0);
    assert_int_equal(hosts_load(home, "north", &got, &e), 0);
    assert_string_equal(got.address, "h.example");
    assert_int_equal(got.port, 2200);
    assert_int_equal(got.n_prices, 2);
    assert_string_equal(got.prices[0].type, "4090");
    assert_int_equal(got.prices[0].uyuan, 1900000);
    assert_int_equal(got.prices[1].uyuan, 6600);
    assert_string_equal(got.env[0], "A=b c");
    assert_true(got.pinned);
    assert_memory_equal(got.key.b, h.key.b, sizeof h.key.b);
    host_free(&got);
    assert_int_equal(hosts_list(home, true, &l, &e), 0);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[0].name, "north");
    assert_true(l.v[1].local);
    host_list_free(&l);
    assert_int_equal(hosts_remove(home, "north", &e), 0);
    assert_int_equal(hosts_remove(home, "north", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    host_free(&h);
    home_free(home);
}

static void
hosts_load__names_those_there_are(void **state)
{
    struct home *home = NULL;
    struct host h = sample("north");
    struct host got;
    struct err e = {0};

    assert_int_equal(home_open(&home, *state, &e), 0);
    assert_int_equal(hosts_save(home, &h, true, &e), 0);
    assert_int_equal(hosts_load(home, "../north", &got, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "north, local"));
    assert_int_equal(hosts_load(home, "local", &got, &e), 0);
    assert_true(got.local);
    host_free(&got);
    assert_int_equal(hosts_remove(home, "local", &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    host_free(&h);
    home_free(home);
}

static void
hosts_list__refuses_a_damaged_record_by_name(void **state)
{
    struct home *home = NULL;
    struct host h = sample("north");
    struct host_list l;
    struct err e = {0};
    char *path;

    assert_int_equal(home_open(&home, *state, &e), 0);
    assert_int_equal(hosts_save(home, &h, true, &e), 0);
    path = home_path(home, "hosts", "north");
    assert_int_equal(file_replace(path, "garbage", 7, &e), 0);
    assert_int_equal(hosts_list(home, false, &l, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "north"));
    free(path);
    host_free(&h);
    home_free(home);
}

static void
host_add_price__refuses_what_is_no_price(void **state)
{
    static const char *const bad[] = {
        "4090",           "=1",       "4090=",  "4090=-1", "4090=1e3",
        "4090=1.0000001", "4090=1,5", "4090= 1"};
    struct host h;
    struct err e = {0};

    (void)state;
    host_init(&h);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(host_add_price(&h, bad[i], &e), -1);
        assert_int_equal(h.n_prices, 0);
    }
    host_free(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_parse_target__reads_what_consoles_show),
        cmocka_unit_test(host_name_check__lets_nothing_odd_into_a_file_name),
        cmocka_unit_test_setup_teardown(
            hosts_save__is_read_back_and_never_replaces_by_accident, make_home,
            remove_home),
        cmocka_unit_test_setup_teardown(hosts_load__names_those_there_are, make_home,
                                        remove_home),
        cmocka_unit_test_setup_teardown(hosts_list__refuses_a_damaged_record_by_name,
                                        make_home, remove_home),
        cmocka_unit_test(host_add_price__refuses_what_is_no_price),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
