/* One record, read: each line in its place, in its one spelling, up to its limit. */
#include "base/bytes.h"
#include "meter/journal_internal.h"
#include "tests/unit/unit.h"

#define HEX_16  "0123456789abcdef"
#define HEX_64  HEX_16 HEX_16 HEX_16 HEX_16
#define WORD_64 HEX_64
#define HEAD    "gpurun.usage.v1\nkind=tick\nseq=1\nat=1 2 3\nstate=running\n"
#define TAIL    "cost=0\nprev=" HEX_64 "\n"
#define STATE   "gpurun.usage.v1\nkind=state\nseq=1\nat=1 2 3\nstate=running\n" TAIL

static enum err_code
read_text(struct journal_entry *x, const char *text, size_t len)
{
    struct sha256_ctx *h = sha256_new();
    /* Exactly as long as it is, so that a sanitizer sees what is read beyond it. */
    char *exact = xmemdup(text, len);
    struct err e = {0};
    int rc = journal_entry_parse(x, exact, len, h, &e);

    assert_int_equal(rc, e.code == ERR_NONE ? 0 : -1);
    free(exact);
    sha256_free(h);
    return e.code;
}

struct text_case {
    const char *text;
    enum err_code code;
};

static void
assert_read(const struct text_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct journal_entry x;
        enum err_code code = read_text(&x, cases[i].text, strlen(cases[i].text));

        if (code != cases[i].code) {
            fail_msg("%s: %s", cases[i].text, err_code_name(code));
        }
        journal_entry_clear(&x);
    }
}

#define ASSERT_READ(cases) assert_read(cases, sizeof(cases) / sizeof *(cases))

static void
record__has_each_line_in_its_place(void **state)
{
    static const struct text_case cases[] = {
        {HEAD TAIL, ERR_NONE},
        {HEAD TAIL "x=1\n", ERR_CORRUPT},
        {HEAD "cost=0\nprev=" HEX_64, ERR_CORRUPT},
        {HEAD "cost=0\nprev=" HEX_64 "0\n", ERR_CORRUPT},
        {HEAD "cost=0\n", ERR_CORRUPT},
        {HEAD "prev=" HEX_64 "\n", ERR_CORRUPT},
        {HEAD "cost=-1\nprev=" HEX_64 "\n", ERR_CORRUPT},
        {HEAD "cost=9223372036854775807\nprev=" HEX_64 "\n", ERR_NONE},
        {HEAD "busy=0\n" TAIL, ERR_NONE},
        {HEAD "busy=-1\n" TAIL, ERR_CORRUPT},
        {HEAD "held=1\n" TAIL, ERR_NONE},
        {HEAD "held=0\n" TAIL, ERR_CORRUPT},
        {HEAD "keep=1\n" TAIL, ERR_NONE},
        {HEAD "keep=0\n" TAIL, ERR_CORRUPT},
        {HEAD "drawn=1\n" TAIL, ERR_NONE},
        {HEAD "drawn=0\n" TAIL, ERR_CORRUPT},
        {HEAD "drawn=1\nkeep=1\n" TAIL, ERR_CORRUPT},
        {HEAD "busy=0\nheld=1\nkeep=1\ndrawn=1\n" TAIL, ERR_NONE},
        {HEAD "ns=running:1\n" TAIL, ERR_NONE},
        {HEAD "ns=shipping:1 running:1\n" TAIL, ERR_NONE},
        {HEAD "ns=running:1 shipping:1\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=running:1 running:1\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=running:0\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=running\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=running:\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=:1\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=runnin:1\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=running:1 \n" TAIL, ERR_CORRUPT},
        {HEAD "ns= running:1\n" TAIL, ERR_CORRUPT},
        {HEAD "ns=\n" TAIL, ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=0\nat=1 2 3\nstate=running\n" TAIL,
         ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nat=0 0 -9223372036854775808\n"
         "state=running\n" TAIL,
         ERR_NONE},
        {"gpurun.usage.v1\nkind=tick\nseq=9223372036854775807\n"
         "at=9223372036854775807 9223372036854775807 9223372036854775807\n"
         "state=running\n" TAIL,
         ERR_NONE},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nat=-1 2 3\nstate=running\n" TAIL,
         ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nat=1 -2 3\nstate=running\n" TAIL,
         ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nat=1 2\nstate=running\n" TAIL, ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nat=1 2 3 4\nstate=running\n" TAIL,
         ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nstate=running\n" TAIL, ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nat=1 2 3\nstate=\n" TAIL, ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\nseq=1\nat=1 2 3\nstate=walking\n" TAIL,
         ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=none\nseq=1\nat=1 2 3\nstate=running\n" TAIL,
         ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tock\nseq=1\nat=1 2 3\nstate=running\n" TAIL,
         ERR_CORRUPT},
        {"gpurun.usage.v1\nseq=1\nat=1 2 3\nstate=running\n" TAIL, ERR_CORRUPT},
        {"gpurun.receipt.v1\nkind=tick\nseq=1\nat=1 2 3\nstate=running\n" TAIL,
         ERR_CORRUPT},
    };

    (void)state;
    ASSERT_READ(cases);
}

/* Cut anywhere it is no record, and nothing beyond its end is looked at. */
static void
record__is_refused_cut_anywhere(void **state)
{
    static const char text[] = HEAD "ns=running:1\nbusy=0\n" TAIL;
    struct journal_entry x;

    (void)state;
    assert_int_equal(read_text(&x, text, sizeof text - 1), ERR_NONE);
    assert_int_equal(x.r.total.ns[USAGE_RUNNING], 1);
    journal_entry_clear(&x);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        assert_int_equal(read_text(&x, text, len) == ERR_NONE, false);
        assert_int_equal(x.n_devices, 0);
    }
}

static void
record__names_the_line_it_is_wrong_in(void **state)
{
    static const char text[] = HEAD "\n" TAIL;
    struct sha256_ctx *h = sha256_new();
    struct journal_entry x;
    struct err e = {0};

    (void)state;
    assert_refused(journal_entry_parse(&x, text, sizeof text - 1, h, &e), ERR_CORRUPT);
    assert_string_equal(e.msg, "not written as a usage record in line 6");
    sha256_free(h);
}

static void
record__of_a_newer_kind_is_told_from_a_broken_one(void **state)
{
    static const struct text_case cases[] = {
        {"gpurun.usage.v2\nkind=tick\n", ERR_VERSION},
        {"gpurun.usage.v10\n", ERR_VERSION},
        {"gpurun.usage.v2", ERR_CORRUPT}, /* not even a line */
        {"gpurun.usage.v\n", ERR_CORRUPT},
        {"gpurun.usage.w2\nkind=tick\n", ERR_CORRUPT},
        {"hpurun.usage.v2\nkind=tick\n", ERR_CORRUPT},
        {"gpurun.usage.v1\nkind=tick\n", ERR_CORRUPT},
    };

    (void)state;
    ASSERT_READ(cases);
}

static void
state_record__names_devices_within_limits(void **state)
{
    static const struct text_case cases[] = {
        {STATE, ERR_NONE},
        {STATE "why=ready\n", ERR_NONE},
        {STATE "why=" WORD_64 "\n", ERR_NONE},
        {STATE "why=" WORD_64 "x\n", ERR_CORRUPT},
        {STATE "why=\n", ERR_CORRUPT},
        {STATE "why=-\n", ERR_CORRUPT},
        {STATE "why=two words\n", ERR_CORRUPT},
        {STATE "device=gpu 4090 GPU-1\n", ERR_NONE},
        {STATE "device=gpu - GPU-1\n", ERR_NONE},
        {STATE "device=- 4090 GPU-1\n", ERR_CORRUPT},
        {STATE "device=gpu 4090 -\n", ERR_CORRUPT},
        {STATE "device=gpu 4090\n", ERR_CORRUPT},
        {STATE "device=gpu 4090 GPU-1 x\n", ERR_CORRUPT},
        {STATE "moved=1\n", ERR_NONE},
        {STATE "moved=0\n", ERR_CORRUPT},
        {STATE "moved=1\nwhy=ready\n", ERR_CORRUPT},
    };
    struct journal_entry x;
    struct buf b = BUF_INIT;

    (void)state;
    ASSERT_READ(cases);
    buf_add_str(&b, STATE);
    for (int i = 0; i < JOURNAL_DEVICES_MAX; i++) {
        buf_printf(&b, "device=gpu 4090 GPU-%d\n", i);
    }
    assert_int_equal(read_text(&x, (const char *)b.data, b.len), ERR_NONE);
    assert_int_equal(x.n_devices, JOURNAL_DEVICES_MAX);
    assert_string_equal(x.devices[JOURNAL_DEVICES_MAX - 1].uuid, "GPU-63");
    journal_entry_clear(&x);
    buf_add_str(&b, "device=gpu 4090 GPU-64\n");
    assert_int_equal(read_text(&x, (const char *)b.data, b.len), ERR_CORRUPT);
    buf_free(&b);
}

static void
blob_record__has_its_blob(void **state)
{
#define EXTEND "gpurun.usage.v1\nkind=extend\nseq=1\nat=1 2 3\nstate=running\n" TAIL
#define COSIGN "gpurun.usage.v1\nkind=cosign\nseq=1\nat=1 2 3\nstate=running\n" TAIL
#define REOPEN "gpurun.usage.v1\nkind=reopen\nseq=1\nat=1 2 3\nstate=running\n" TAIL
    static const struct text_case cases[] = {
        {EXTEND "grant=x\n", ERR_NONE},
        {EXTEND "grant=\n", ERR_CORRUPT},
        {EXTEND, ERR_CORRUPT},
        {EXTEND "offer=x\n", ERR_CORRUPT},
        {EXTEND "grant=\\x0\n", ERR_CORRUPT},
        {COSIGN "cosign=x\n", ERR_NONE},
        {COSIGN "cosign=\n", ERR_CORRUPT},
        {COSIGN "grant=x\n", ERR_CORRUPT},
        {REOPEN "boot=a\ncut=0\n", ERR_NONE},
        {REOPEN "boot=a\ncut=-1\n", ERR_CORRUPT},
        {REOPEN "boot=a\n", ERR_CORRUPT},
        {REOPEN "cut=0\n", ERR_CORRUPT},
        {REOPEN "boot=\ncut=0\n", ERR_CORRUPT},
    };

    (void)state;
    ASSERT_READ(cases);
}

static void
receipt__is_read_up_to_each_limit(void **state)
{
#define RECEIPT_BODY                                                                     \
    "kind=receipt\nseq=1\nat=1 2 3\nstate=ended\n" TAIL                                  \
    "lease=l\njob=j\nboot=b\nrenter=" HEX_64 "\noffer=" HEX_64 "\ngrant=" HEX_64         \
    "\ncard=" HEX_64 "\n"
#define RECEIPT "gpurun.receipt.v1\n" RECEIPT_BODY
#define SIGNED  "signer=" HEX_64 "\nsig=" HEX_64 HEX_64 "\n"
    static const struct text_case cases[] = {
        {RECEIPT "why=exited\nexit=0\nsignal=0\nlost=0\nkept=0\nkeep_until=0\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_NONE},
        {RECEIPT "why=exited\nexit=-1\nsignal=0\nlost=1\nsnapshot=" WORD_64
                 "\nkept=0\nkeep_until=0\nhold=0\nsetup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_NONE},
        {RECEIPT "why=exited\nexit=-2\nsignal=0\nlost=0\nkept=0\nkeep_until=0\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_CORRUPT},
        {RECEIPT "why=exited\nexit=0\nsignal=-1\nlost=0\nkept=0\nkeep_until=0\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_CORRUPT},
        {RECEIPT "why=exited\nexit=0\nsignal=0\nlost=2\nkept=0\nkeep_until=0\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_CORRUPT},
        {RECEIPT "why=exited\nexit=0\nsignal=0\nlost=0\nkept=-1\nkeep_until=0\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_CORRUPT},
        {RECEIPT "why=exited\nexit=0\nsignal=0\nlost=0\nkept=0\nkeep_until=-1\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_CORRUPT},
        {RECEIPT "why=exited\nexit=0\nsignal=0\nlost=0\nkept=0\nkeep_until=0\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n",
         ERR_CORRUPT}, /* not signed */
        {"gpurun.receipt.v2\n" RECEIPT_BODY
         "why=exited\nexit=0\nsignal=0\nlost=0\nkept=0\nkeep_until=0\nhold=0\n"
         "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_CORRUPT}, /* another family: only of usage records is a newer one known */
        {RECEIPT "exit=0\nsignal=0\nlost=0\nkept=0\nkeep_until=0\nhold=0\n"
                 "setup=0\ndevice=0\ncharge=0\n" SIGNED,
         ERR_CORRUPT},
    };

    (void)state;
    ASSERT_READ(cases);
}

static void
frame__tells_length_and_checksum(void **state)
{
    static const struct {
        const char *head;
        bool taken;
    } cases[] = {
        {"#00000001 00000000\n", true},  {"#00000000 00000000\n", false},
        {"#00400000 ffffffff\n", true},  {"#00400001 00000000\n", false},
        {"$00000001 00000000\n", false}, {"#00000001-00000000\n", false},
        {"#00000001 00000000 ", false},  {"#0000000g 00000000\n", false},
        {"#00000001 0000000G\n", false},
    };
    size_t len = 0;
    uint32_t crc = 0;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};

        if ((journal_frame_parse(cases[i].head, &len, &crc, &e) == 0) != cases[i].taken) {
            fail_msg("%s", cases[i].head);
        }
    }
    {
        char head[JOURNAL_FRAME_HEAD + 1];
        struct err e = {0};

        journal_frame_head(head, "123456789", 9);
        assert_string_equal(head, "#00000009 e3069283\n"); /* crc32c's own test value */
        assert_ok(journal_frame_parse(head, &len, &crc, &e));
        assert_int_equal(len, 9);
        assert_int_equal(crc, 0xe3069283U);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record__has_each_line_in_its_place),
        cmocka_unit_test(record__is_refused_cut_anywhere),
        cmocka_unit_test(record__names_the_line_it_is_wrong_in),
        cmocka_unit_test(record__of_a_newer_kind_is_told_from_a_broken_one),
        cmocka_unit_test(state_record__names_devices_within_limits),
        cmocka_unit_test(blob_record__has_its_blob),
        cmocka_unit_test(receipt__is_read_up_to_each_limit),
        cmocka_unit_test(frame__tells_length_and_checksum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
