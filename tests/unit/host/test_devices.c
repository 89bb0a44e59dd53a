#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/host/devices.h"
#include "runner/host/devices_internal.h"
#include "runner/host/loginenv.h"

#define TAKEN_MAX 64

/* Names nobody else on this machine has: the locks are shared by all. */
static void
add(struct device_list *l, const char *name, const char *type, int i, bool usable)
{
    struct device d;
    char uuid[64];

    (void)snprintf(uuid, sizeof uuid, "test-%d-%d", (int)getpid(), i);
    device_init(&d);
    device_text(&d.device_class, "gpu");
    device_text(&d.vendor, "nvidia");
    device_text(&d.name, name);
    device_text(&d.type, type);
    device_text(&d.uuid, uuid);
    d.index = i;
    d.usable = usable;
    device_list_add(l, &d);
}

static struct agent *
open_agent(const char *home)
{
    struct agent *a = NULL;
    struct err e = {0};

    assert_int_equal(setenv("GPURUN_AGENT_HOME", home, 1), 0);
    assert_ok(agent_open(&a, &e));
    return a;
}

static void
remove_locks(const struct agent *a, const struct device_list *l)
{
    bool shared;
    char *dir = devices_lock_dir(a, &shared);

    for (size_t i = 0; i < l->n; i++) {
        char *path = xasprintf("%s/%s.lock", dir, l->v[i].uuid);

        (void)unlink(path);
        free(path);
    }
    free(dir);
}

static void
take__gives_each_device_to_one_only(void **state)
{
    struct agent *a = open_agent(*state);
    struct device_list l = {NULL, 0};
    size_t picked[TAKEN_MAX];
    int fds[TAKEN_MAX];
    size_t n = 99;
    size_t more[TAKEN_MAX];
    int more_fds[TAKEN_MAX];
    size_t n_more = 99;
    struct err e = {0};

    add(&l, "NVIDIA GeForce RTX 4090", "4090", 0, true);
    add(&l, "NVIDIA GeForce RTX 4090", "4090", 1, true);
    add(&l, "NVIDIA GeForce RTX 4090", "4090", 2, false); /* broken */
    add(&l, "NVIDIA GeForce RTX 3090", "3090", 3, true);

    /* The price's type and the user's word both have to fit. */
    assert_refused(
        devices_take(a, &l, "gpu", "3090", "RTX 4090", 1, NULL, picked, fds, &n, &e),
        ERR_NOT_FOUND);
    assert_refused(
        devices_take(a, &l, "gpu", "4090", "4090", 3, NULL, picked, fds, &n, &e),
        ERR_NOT_FOUND);
    assert_refused(devices_take(a, &l, "npu", NULL, "any", 1, NULL, picked, fds, &n, &e),
                   ERR_NOT_FOUND);
    assert_int_equal(n, 99);

    assert_ok(
        devices_take(a, &l, "gpu", "4090", "RTX 4090", 1, NULL, picked, fds, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(picked[0], 0);
    devices_look(a, &l);
    assert_int_equal(l.v[0].state, DEVICE_BUSY);
    assert_int_equal(l.v[1].state, DEVICE_FREE);
    assert_int_equal(l.v[2].state, DEVICE_BROKEN);
    assert_int_equal(l.v[3].state, DEVICE_FREE);

    /* Two are asked for, one is free: nothing is held afterwards. */
    assert_refused(
        devices_take(a, &l, "gpu", "4090", "4090", 2, NULL, more, more_fds, &n_more, &e),
        ERR_BUSY);
    devices_look(a, &l);
    assert_int_equal(l.v[1].state, DEVICE_FREE);
    assert_ok(
        devices_take(a, &l, "gpu", "4090", "any", 1, NULL, more, more_fds, &n_more, &e));
    assert_int_equal(more[0], 1);

    /* Free when the last descriptor is closed, wherever it was copied to. */
    {
        int copy = dup(fds[0]);

        assert_int_equal(close(fds[0]), 0);
        devices_look(a, &l);
        assert_int_equal(l.v[0].state, DEVICE_BUSY);
        assert_int_equal(close(copy), 0);
        devices_look(a, &l);
        assert_int_equal(l.v[0].state, DEVICE_FREE);
    }
    assert_int_equal(close(more_fds[0]), 0);
    remove_locks(a, &l);
    device_list_free(&l);
    agent_close(a);
}

static void
take__shares_cores_and_counts_them(void **state)
{
    struct agent *a = open_agent(*state);
    struct device_list l = {NULL, 0};
    size_t picked[TAKEN_MAX];
    int fds[TAKEN_MAX];
    size_t n = 0;
    struct err e = {0};
    int64_t cores = devices_cores();
    char why[DEVICES_WHY_MAX];

    assert_true(cores >= 1);
    assert_true(devices_mem_bytes() > 0);
    assert_ok(devices_list(a, false, &l, why, &e));
    for (int twice = 0; twice < 2; twice++) {
        assert_ok(
            devices_take(a, &l, "cpu", NULL, "any", cores, NULL, picked, fds, &n, &e));
        assert_int_equal(n, 1);
        assert_int_equal(fds[0], -1);
        assert_string_equal(l.v[picked[0]].device_class, "cpu");
    }
    assert_refused(
        devices_take(a, &l, "cpu", NULL, "any", cores + 1, NULL, picked, fds, &n, &e),
        ERR_NOT_FOUND);
    device_list_free(&l);
    agent_close(a);
}

static void
rows__of_the_owner_are_read_with_comments(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
    } cases[] = {
        {"gpurun.class.v1\n# c\n\nclass=asic\nvendor=acme\ndetect=nodes\nnode=/dev/null\n"
         "visible_var=ACME\nvisible_by=index\ntype=x1\n",
         ERR_NONE},
        {"gpurun.class.v1\nclass=asic\nvendor=acme\ndetect=nodes\nnode=/dev/null",
         ERR_NONE}, /* no newline at the end: editors do that */
        {"# nothing\n", ERR_CORRUPT},
        {"gpurun.class.v1\nclass=asic\nvendor=acme\ndetect=nodes\nnode=/etc/passwd\n",
         ERR_INVALID},
        {"gpurun.class.v1\nclass=asic\nvendor=acme\ndetect=nodes\nnode=/dev/../etc/x\n",
         ERR_INVALID},
        {"gpurun.class.v1\nclass=asic\nvendor=acme\ndetect=nodes\n", ERR_INVALID},
        {"gpurun.class.v1\nclass=a b\nvendor=acme\ndetect=pci\npci=1:2\n", ERR_INVALID},
        {"gpurun.class.v1\nclass=asic\nvendor=acme\ndetect=pci\npci=1:2\n"
         "visible_by=name\n",
         ERR_INVALID},
    };
    struct agent *a = open_agent(*state);
    char *dir = path_join(*state, "devices.d");
    char *path = path_join(dir, "acme.conf");
    size_t n_builtin;

    (void)device_classes_builtin(&n_builtin);
    assert_int_equal(mkdir(dir, 0700), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct device_rows rows = {.n = 0};
        struct err e = {0};
        int rc;

        assert_ok(file_replace(path, cases[i].text, strlen(cases[i].text), &e));
        rc = device_rows_load(&rows, a, &e);
        assert_int_equal(rc, cases[i].code == ERR_NONE ? 0 : -1);
        if (rc == 0) {
            const struct device_class *c = rows.v[rows.n - 1];

            assert_true(rows.n > n_builtin);
            assert_string_equal(c->name, "asic");
            assert_string_equal(c->vendor, "acme");
            device_rows_free(&rows);
        } else {
            if (cases[i].code == ERR_INVALID) {
                assert_int_equal(e.code, ERR_INVALID);
            }
            assert_non_null(strstr(e.msg, "acme.conf"));
        }
    }
    free(dir);
    free(path);
    agent_close(a);
}

/* A job sees its own devices by the variable of each class here, and none of the others.
 */
static void
env__shows_a_job_its_own_devices_only(void **state)
{
    struct agent *a = open_agent(*state);
    struct device_list l = {NULL, 0};
    struct strings env = {NULL, 0};
    struct device amd;
    size_t both[2] = {1, 0};
    size_t card[1] = {2};
    char want[200];

    add(&l, "NVIDIA GeForce RTX 4090", "4090", 0, true);
    add(&l, "NVIDIA GeForce RTX 4090", "4090", 1, true);
    device_init(&amd);
    device_text(&amd.device_class, "gpu");
    device_text(&amd.vendor, "amd");
    device_text(&amd.uuid, "amd-1");
    amd.index = 7;
    device_list_add(&l, &amd);

    devices_env(a, &l, both, 2, &env);
    (void)snprintf(want, sizeof want, "%s,%s", l.v[1].uuid, l.v[0].uuid);
    assert_string_equal(env_get(&env, "CUDA_VISIBLE_DEVICES"), want);
    assert_string_equal(env_get(&env, "HIP_VISIBLE_DEVICES"), "");
    assert_null(env_get(&env, "ASCEND_RT_VISIBLE_DEVICES")); /* none here at all */
    devices_env(a, &l, card, 1, &env);
    assert_string_equal(env_get(&env, "CUDA_VISIBLE_DEVICES"), "");
    assert_string_equal(env_get(&env, "HIP_VISIBLE_DEVICES"), "7");
    strings_free(&env);
    device_list_free(&l);
    agent_close(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(take__gives_each_device_to_one_only),
        unit_test_in_dir(take__shares_cores_and_counts_them),
        unit_test_in_dir(rows__of_the_owner_are_read_with_comments),
        unit_test_in_dir(env__shows_a_job_its_own_devices_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
