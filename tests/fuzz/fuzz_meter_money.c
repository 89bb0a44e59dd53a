/* Money, times and exact amounts as text: what is read is what would be written. */
#include <string.h>

#include "meter/calendar.h"
#include "meter/money.h"
#include "meter/ratio.h"
#include "meter/refuse.h"
#include "tests/fuzz/fuzz.h"

static void
times(const char *s, size_t size)
{
    struct calendar_time t;
    struct err e;
    char text[CALENDAR_TEXT_MAX];

    if (calendar_parse(s, size, &t, &e) == 0) {
        must(calendar_format(&t, text, &e) == 0);
        /* "-00:00" is read as the same offset that "+00:00" writes. */
        must(strlen(text) == size && memcmp(text, s, 19) == 0);
    } else {
        must(refuse_of(&e) == REFUSE_SYNTAX);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data;
    char text[RATIO_TEXT_MAX];
    struct ratio r;
    struct ratio again;
    struct err e;
    int64_t v;

    if (money_parse_fen(s, size, &v, &e) == 0) {
        int64_t w;

        must(v >= 0);
        money_format_fen(v, text);
        must(money_parse_fen(text, strlen(text), &w, &e) == 0 && w == v);
    } else {
        must(refuse_of(&e) != REFUSE_NONE);
    }
    if (money_parse_uyuan(s, size, &v, &e) == 0) {
        int64_t w;

        money_format_uyuan(v, text);
        must(money_parse_uyuan(text, strlen(text), &w, &e) == 0 && w == v);
    }
    if (ratio_parse(&r, s, size, &e) == 0) {
        ratio_format(&r, text);
        must(ratio_parse(&again, text, strlen(text), &e) == 0);
        must(again.num == r.num && again.den == r.den);
        (void)!ratio_round(&r, RATIO_HALF_UP, &v, &e);
    }
    times(s, size);
    return 0;
}
