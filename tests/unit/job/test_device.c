#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "runner/job/device.h"
#include "runner/job/hostinfo.h"

#define GIB ((int64_t)1 << 30)

struct match_case {
    const char *wanted;
    const char *name;
    int64_t memory_bytes;
    bool fits;
};

static const struct match_case cases[] = {
    {"4090", "NVIDIA GeForce RTX 4090", 24 * GIB, true},
    {"rtx4090", "NVIDIA GeForce RTX 4090", 24 * GIB, true},
    {"RTX 4090", "NVIDIA GeForce RTX 4090", 24 * GIB, true},
    {"geforce-rtx-4090", "NVIDIA GeForce RTX 4090", 24 * GIB, true},
    {"NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090", 24 * GIB, true},
    {"4090-24g", "NVIDIA GeForce RTX 4090", 25757220864, true},
    {"4090-48g", "NVIDIA GeForce RTX 4090", 25757220864, false},
    {"gtx4090", "NVIDIA GeForce RTX 4090", 24 * GIB, false},
    {"4090", "NVIDIA GeForce RTX 4090 D", 24 * GIB, false},
    {"4090d", "NVIDIA GeForce RTX 4090 D", 24 * GIB, true},
    {"4090", "NVIDIA GeForce RTX 4090 Laptop GPU", 16 * GIB, false},
    {"3080", "NVIDIA GeForce RTX 3080 Ti", 12 * GIB, false},
    {"3080ti", "NVIDIA GeForce RTX 3080 Ti", 12 * GIB, true},
    {"4070-ti-super", "NVIDIA GeForce RTX 4070 Ti SUPER", 16 * GIB, true},
    {"409", "NVIDIA GeForce RTX 4090", 24 * GIB, false},
    {"a100", "NVIDIA A100-SXM4-80GB", 80 * GIB, true},
    {"a100-80g", "NVIDIA A100-SXM4-80GB", 80 * GIB, true},
    {"A100-80GB", "NVIDIA A100 80GB PCIe", 80 * GIB, true},
    {"a100-40g", "NVIDIA A100-SXM4-80GB", 80 * GIB, false},
    {"a100-40g", "NVIDIA A100-PCIE-40GB", 40 * GIB, true},
    {"a100-sxm", "NVIDIA A100-SXM4-80GB", 80 * GIB, true},
    {"a100-sxm4-80g", "NVIDIA A100-SXM4-80GB", 80 * GIB, true},
    {"a100-pcie", "NVIDIA A100-SXM4-80GB", 80 * GIB, false},
    {"a10", "NVIDIA A100-SXM4-80GB", 80 * GIB, false},
    {"a10", "NVIDIA A10", 24 * GIB, true},
    {"a10", "NVIDIA A10G", 24 * GIB, false},
    {"h100", "NVIDIA H100 80GB HBM3", 80 * GIB, true},
    {"h100-nvl", "NVIDIA H100 NVL", 94 * GIB, true},
    {"h100", "NVIDIA GH200 480GB", 96 * GIB, false},
    {"h200", "NVIDIA H200", 141 * GIB, true},
    {"l4", "NVIDIA L40", 48 * GIB, false},
    {"l40", "NVIDIA L40S", 48 * GIB, false},
    {"l40s", "NVIDIA L40S", 48 * GIB, true},
    {"t4", "Tesla T4", 16 * GIB, true},
    {"v100-32g", "Tesla V100-SXM2-32GB", 32 * GIB, true},
    {"a6000", "NVIDIA RTX A6000", 48 * GIB, true},
    {"rtxa6000", "NVIDIA RTX A6000", 48 * GIB, true},
    {"6000", "NVIDIA RTX 6000 Ada Generation", 48 * GIB, false},
    {"rtx6000-ada", "NVIDIA RTX 6000 Ada Generation", 48 * GIB, true},
    {"mi300x", "AMD Instinct MI300X", 192 * GIB, true},
    {"a100", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 10 * GIB, false},
    {"a100-80g-mig-1g.10gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 10 * GIB, true},
    {"any", "NVIDIA GeForce RTX 4090", 24 * GIB, true},
    {"ANY", "whatever", 0, true},
    {"", "whatever", 0, true},
    {"nvidia", "NVIDIA GeForce RTX 4090", 24 * GIB, false},
    {"80g", "NVIDIA A100-SXM4-80GB", 80 * GIB, false},
    {"!!!", "NVIDIA GeForce RTX 4090", 24 * GIB, false},
};

static void
device_type__matches_as_people_write_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct match_case *c = &cases[i];

        if (device_type_matches(c->wanted, c->name, NULL, c->memory_bytes) != c->fits) {
            fail_msg("'%s' and '%s': expected %s", c->wanted, c->name,
                     c->fits ? "to fit" : "not to fit");
        }
    }
}

static void
device_type__of_a_name_is_short_and_matches_it_again(void **state)
{
    static const struct {
        const char *name;
        const char *type;
    } names[] = {
        {"NVIDIA GeForce RTX 4090", "4090"},
        {"NVIDIA A100-SXM4-80GB", "a100-80g"},
        {"NVIDIA H100 80GB HBM3", "h100-80g"},
        {"NVIDIA GeForce RTX 4090 D", "4090d"},
        {"Tesla T4", "t4"},
        {"NVIDIA A100-SXM4-80GB MIG 1g.10gb", "a100mig1g10gb-80g"},
        {"NVIDIA", "unknown"},
        {"", "unknown"},
    };
    char type[DEVICE_TEXT_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        device_type_of(names[i].name, 0, type);
        assert_string_equal(type, names[i].type);
        assert_true(device_type_matches(type, names[i].name, type, 0));
    }
}

static void
device_want__takes_type_and_count(void **state)
{
    struct device_want w;
    struct err e = {0};

    (void)state;
    assert_int_equal(device_want_parse_gpu(&w, "h100:2", &e), 0);
    assert_string_equal(w.device_class, "gpu");
    assert_string_equal(w.type, "h100");
    assert_int_equal(w.count, 2);
    assert_int_equal(device_want_parse_gpu(&w, "RTX 4090", &e), 0);
    assert_int_equal(w.count, 1);
    assert_int_equal(device_want_parse(&w, "npu:910b:8", &e), 0);
    assert_string_equal(w.device_class, "npu");
    assert_int_equal(w.count, 8);
    assert_int_equal(device_want_parse_gpu(&w, "h100:0", &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(device_want_parse_gpu(&w, "h100:-1", &e), -1);
    assert_int_equal(device_want_parse_gpu(&w, "h100:99999999999", &e), -1);
    assert_int_equal(device_want_parse_gpu(&w, "", &e), -1);
    assert_int_equal(device_want_parse_gpu(&w, ":2", &e), -1);
    assert_int_equal(device_want_parse_gpu(&w, " ", &e), -1);
    assert_int_equal(device_want_parse_gpu(&w, "４０９０", &e),
                     -1); /* full-width digits */
    assert_int_equal(device_want_parse(&w, "gpu", &e), -1);
    assert_int_equal(w.count, 8); /* untouched by all of those */
}

static void
device_class__rows_are_checked(void **state)
{
    struct device_class c;
    struct err e = {0};
    struct rec *r = rec_new(DEVICE_CLASS_TAG);
    struct rec *bad = rec_new(DEVICE_CLASS_TAG);

    (void)state;
    rec_add(r, "class", "asic");
    rec_add(r, "vendor", "acme");
    rec_add(r, "detect", "nodes");
    rec_add(r, "node", "/dev/acme[0-9]");
    assert_int_equal(device_class_parse(&c, r, &e), 0);
    assert_int_equal(c.detect, DEVICE_DETECT_NODES);
    device_class_free(&c);
    rec_add(bad, "class", "asic");
    rec_add(bad, "vendor", "acme");
    rec_add(bad, "detect", "nodes");
    rec_add(bad, "node", "/etc/shadow");
    assert_int_equal(device_class_parse(&c, bad, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    rec_free(r);
    rec_free(bad);
}

static void
hostinfo__comes_back_as_it_was(void **state)
{
    struct host_info h;
    struct host_info got;
    struct device d;
    struct err e = {0};
    struct rec *r;

    (void)state;
    hostinfo_init(&h);
    memset(h.key.b, 7, sizeof h.key.b);
    h.version = xstrdup("0.1.0");
    h.arch = xstrdup("x86_64");
    h.cores = 8;
    h.protection = HOST_PROTECTION_FULL;
    h.offer = xmemdup("x\ny", 3);
    h.offer_len = 3;
    device_init(&d);
    free(d.device_class);
    d.device_class = xstrdup("gpu");
    free(d.name);
    d.name = xstrdup("NVIDIA GeForce RTX 4090");
    free(d.uuid);
    d.uuid = xstrdup("GPU-1");
    free(d.type);
    d.type = xstrdup("4090");
    d.state = DEVICE_FREE;
    device_list_add(&h.devices, &d);
    r = hostinfo_encode(&h);
    assert_int_equal(hostinfo_parse(&got, r, &e), 0);
    assert_int_equal(got.cores, 8);
    assert_int_equal(got.protection, HOST_PROTECTION_FULL);
    assert_int_equal(got.offer_len, 3);
    assert_int_equal(got.devices.n, 1);
    assert_int_equal(hostinfo_count_free(&got, "gpu", "rtx4090"), 1);
    assert_int_equal(hostinfo_count_free(&got, "gpu", "3090"), 0);
    rec_free(r);
    hostinfo_free(&h);
    hostinfo_free(&got);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_type__matches_as_people_write_it),
        cmocka_unit_test(device_type__of_a_name_is_short_and_matches_it_again),
        cmocka_unit_test(device_want__takes_type_and_count),
        cmocka_unit_test(device_class__rows_are_checked),
        cmocka_unit_test(hostinfo__comes_back_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
