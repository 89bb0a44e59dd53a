#include "base/hash.h"
#include "tests/unit/unit.h"

static const char abc_hex[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char empty_hex[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static void
check_hash(const struct sha256 *h, const char *want)
{
    char hex[SHA256_HEX_LEN + 1];

    sha256_format(h, hex);
    assert_string_equal(hex, want);
}

static void
sha256__agrees_with_fips_180(void **state)
{
    struct sha256 h;

    (void)state;
    sha256_of("abc", 3, &h);
    check_hash(&h, abc_hex);
    sha256_of(NULL, 0, &h);
    check_hash(&h, empty_hex);
    sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, &h);
    check_hash(&h, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void
sha256_ctx__hashes_in_pieces_and_again(void **state)
{
    struct sha256_ctx *c = sha256_new();
    struct sha256 h;

    (void)state;
    sha256_update(c, "a", 1);
    sha256_update(c, NULL, 0);
    sha256_update(c, "bc", 2);
    sha256_final(c, &h);
    check_hash(&h, abc_hex);
    sha256_final(c, &h); /* empty again */
    check_hash(&h, empty_hex);
    sha256_update(c, "abc", 3);
    sha256_final(c, &h);
    check_hash(&h, abc_hex);
    sha256_free(c);
    sha256_free(NULL);
}

static void
sha256__compares_to_the_last_byte(void **state)
{
    struct sha256 a = {{0}};
    struct sha256 b = {{0}};

    (void)state;
    assert_true(sha256_equal(&a, &b));
    assert_int_equal(sha256_cmp(&a, &b), 0);
    b.b[SHA256_LEN - 1] = 1;
    assert_false(sha256_equal(&a, &b));
    assert_true(sha256_cmp(&a, &b) < 0);
    a.b[0] = 0x80; /* bytes are unsigned */
    assert_true(sha256_cmp(&a, &b) > 0);
}

static void
hex__goes_both_ways(void **state)
{
    uint8_t all[256];
    uint8_t back[256];
    char hex[513];

    (void)state;
    for (size_t i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    hex_format(all, sizeof all, hex);
    assert_int_equal(strlen(hex), 512);
    assert_memory_equal(hex, "000102", 6);
    assert_string_equal(hex + 506, "fdfeff");
    assert_true(hex_parse(hex, 512, back, 256));
    assert_memory_equal(all, back, 256);
    for (size_t n = 1; n <= 256; n++) { /* a bad last digit: nothing at all is written */
        uint8_t kept = back[0] = 0xa5;

        hex_format(all, n, hex);
        hex[2 * n - 1] = 'g';
        assert_false(hex_parse(hex, 2 * n, back, n));
        assert_int_equal(back[0], kept);
    }
    hex_format(NULL, 0, hex);
    assert_string_equal(hex, "");
    assert_true(hex_parse("", 0, back, 0));
}

static void
hex__has_one_spelling(void **state)
{
    static const char *const bad[] = {"0",
                                      "00",
                                      "000",
                                      "00000",
                                      "000000",
                                      "000A",
                                      "000g",
                                      "000`",
                                      "000/",
                                      "000:",
                                      "0x00",
                                      " 000",
                                      "00 0",
                                      "-000",
                                      ("\xb0"
                                       "000")};
    uint8_t out[2] = {7, 8};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(hex_parse(bad[i], strlen(bad[i]), out, 2));
    }
    assert_int_equal(out[0], 7);
    assert_int_equal(out[1], 8);
}

/* Eight digits at a time, and the rest one by one: every byte at every place. */
static void
hex__knows_a_digit_at_any_place(void **state)
{
    static const char digits[] = "0123456789abcdef";
    static const char good[] = "0123456789abcdef90";
    uint8_t want[9];
    uint8_t out[9];

    (void)state;
    assert_true(hex_parse(good, 18, want, 9));
    for (size_t at = 0; at < 18; at++) {
        for (int c = 0; c < 256; c++) {
            char text[18];
            const char *digit = c != 0 ? strchr(digits, c) : NULL;
            uint8_t byte = want[at / 2];

            memcpy(text, good, 18);
            text[at] = (char)c;
            memset(out, 0xee, sizeof out);
            assert_int_equal(hex_parse(text, 18, out, 9), digit != NULL);
            if (digit == NULL) {
                assert_int_equal(out[0], 0xee);
                continue;
            }
            byte = at % 2 == 0 ? (uint8_t)((byte & 15) | (digit - digits) << 4)
                               : (uint8_t)((byte & 240) | (digit - digits));
            for (size_t i = 0; i < 9; i++) {
                assert_int_equal(out[i], i == at / 2 ? byte : want[i]);
            }
        }
    }
}

static void
random_id__is_prefix_and_twelve_of_the_alphabet(void **state)
{
    char a[1 + ID_RANDOM_LEN + 1];
    char b[1 + ID_RANDOM_LEN + 1];
    char bare[ID_RANDOM_LEN + 1];

    (void)state;
    random_id("j", a);
    random_id("j", b);
    assert_int_equal(strlen(a), 13);
    assert_int_equal(a[0], 'j');
    assert_int_equal(strspn(a + 1, "0123456789abcdefghjkmnpqrstvwxyz"), 12);
    assert_string_not_equal(a, b);
    random_id("", bare);
    assert_int_equal(strlen(bare), 12);
}

/* Every letter of the alphabet comes, at every place. */
static void
random_id__uses_its_sixty_bits(void **state)
{
    uint32_t seen[ID_RANDOM_LEN] = {0};
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

    (void)state;
    for (int i = 0; i < 2000; i++) {
        char id[ID_RANDOM_LEN + 1];

        random_id("", id);
        for (size_t k = 0; k < ID_RANDOM_LEN; k++) {
            seen[k] |= UINT32_C(1) << (strchr(alphabet, id[k]) - alphabet);
        }
    }
    for (size_t k = 0; k < ID_RANDOM_LEN; k++) {
        assert_int_equal(seen[k], UINT32_MAX);
    }
}

static void
secrets__are_compared_whole(void **state)
{
    (void)state;
    assert_true(bytes_equal_ct("abc", "abc", 3));
    assert_false(bytes_equal_ct("abc", "abd", 3));
    assert_false(bytes_equal_ct("bbc", "abc", 3));
    assert_true(bytes_equal_ct("a", "b", 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256__agrees_with_fips_180),
        cmocka_unit_test(sha256_ctx__hashes_in_pieces_and_again),
        cmocka_unit_test(sha256__compares_to_the_last_byte),
        cmocka_unit_test(hex__goes_both_ways),
        cmocka_unit_test(hex__has_one_spelling),
        cmocka_unit_test(hex__knows_a_digit_at_any_place),
        cmocka_unit_test(random_id__is_prefix_and_twelve_of_the_alphabet),
        cmocka_unit_test(random_id__uses_its_sixty_bits),
        cmocka_unit_test(secrets__are_compared_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
