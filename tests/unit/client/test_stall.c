/* A host that falls silent in the middle of a transfer. */
#include "runner/client/stall.h"

#include <string.h>

#include "tests/unit/unit.h"

#define MS ((int64_t)1000000)

struct world {
    struct loop *loop;
    struct channel *channel;
    struct stall *stall;
    struct timer *keeps; /* the loop running: the watch itself does not */
    int overs;
    int owes;
    bool through;
};

static void
on_over(void *ctx)
{
    struct world *w = ctx;

    w->overs++;
}

static int
owes(void *ctx)
{
    const struct world *w = ctx;

    return w->owes;
}

static const struct stall_events events = {.over = on_over, .owes = owes};

static void
on_through(void *ctx)
{
    struct world *w = ctx;

    w->through = true;
}

static bool
is_through(void *ctx)
{
    const struct world *w = ctx;

    return w->through;
}

static bool
is_over(void *ctx)
{
    const struct world *w = ctx;

    return w->overs > 0;
}

static void
set_up(struct world *w)
{
    struct channel_options co = {.cls = CHANNEL_BULK};
    struct err e;

    memset(w, 0, sizeof *w);
    assert_int_equal(loop_new(&w->loop, &e), 0);
    w->channel = channel_new(&co);
    w->keeps = timer_new(w->loop, on_through, w);
    w->stall = stall_new(w->loop, 40 * MS, &events, w);
    stall_watch(w->stall, w->channel);
}

static void
tear_down(struct world *w)
{
    stall_free(w->stall);
    timer_free(w->keeps);
    channel_free(w->channel);
    loop_free(w->loop);
}

static void
gives_up(struct world *w)
{
    timer_after(w->keeps, 20000 * MS);
    assert_true(loop_run_until(w->loop, is_over, w, -1));
    assert_int_equal(w->overs, 1);
}

static void
waits(struct world *w)
{
    timer_after(w->keeps, 200 * MS);
    assert_true(loop_run_until(w->loop, is_through, w, -1));
    assert_int_equal(w->overs, 0);
}

/* A frame of 5 bytes of payload, whole: u32 length, type, 3 zero bytes. */
static const uint8_t frame[] = {5, 0, 0, 0, 1, 0, 0, 0, 'f', 'r', 'a', 'm', 'e'};

static void
stall__in_the_middle_of_a_frame_is_one_at_each_byte(void **state)
{
    (void)state;
    for (size_t n = 1; n < sizeof frame; n++) {
        struct world w;

        set_up(&w);
        stall_took(w.stall, frame, sizeof frame);
        stall_took(w.stall, frame, n);
        gives_up(&w);
        tear_down(&w);
    }
}

static void
stall__between_frames_is_none(void **state)
{
    struct world w;

    (void)state;
    set_up(&w);
    stall_took(w.stall, frame, 3);
    stall_took(w.stall, frame + 3, sizeof frame - 3);
    waits(&w);
    stall_took(w.stall, frame, 9);
    stall_watch(w.stall, w.channel); /* anew */
    waits(&w);
    stall_took(w.stall, frame, 9);
    stall_watch(w.stall, NULL);
    waits(&w);
    tear_down(&w);
}

static void
stall__an_answer_that_is_due_and_bytes_that_nobody_takes(void **state)
{
    struct world w;

    (void)state;
    set_up(&w);
    w.owes = 1;
    gives_up(&w);
    tear_down(&w);
    set_up(&w);
    assert_int_equal(channel_send(w.channel, "abc", 3), 3);
    gives_up(&w);
    tear_down(&w);
}

/* Bringing much to a slow disk, or reading much before the next frame, is no silence, but
 * not without end either. */
static void
stall__of_a_slow_disk_has_ten_times_as_long(void **state)
{
    struct world w;

    (void)state;
    set_up(&w);
    w.owes = STALL_SLOW;
    waits(&w); /* five times the usual silence */
    gives_up(&w);
    tear_down(&w);
}

/* A frame of two bytes of payload, byte by byte. */
static void
take_frame(struct world *w, uint8_t type, uint8_t first)
{
    const uint8_t whole[] = {2, 0, 0, 0, type, 0, 0, 0, first, 0};

    for (size_t i = 0; i < sizeof whole; i++) {
        stall_took(w->stall, &whole[i], 1);
    }
}

static void
stall__counts_what_is_kept_of_chunks_and_nothing_else(void **state)
{
    /* The head of a chunk is 44 bytes: storage/DESIGN.md, "Sync". */
    static const struct {
        uint8_t type;
        uint8_t len;
        uint64_t then;
    } talk[] = {{1, 64, 0},  {3, 44 + 5, 5}, {4, 7, 12},
                {5, 32, 12}, {3, 43, 12},    {3, 45, 13}};
    struct world w;

    (void)state;
    set_up(&w);
    for (size_t i = 0; i < sizeof talk / sizeof *talk; i++) {
        uint8_t whole[8 + 64] = {talk[i].len, 0, 0, 0, talk[i].type};
        uint64_t before = stall_stored_bytes(w.stall);

        stall_took(w.stall, whole, 8 + (size_t)talk[i].len - 1);
        assert_int_equal(stall_stored_bytes(w.stall), before);
        stall_took(w.stall, whole, 1); /* the last byte, whichever */
        assert_int_equal(stall_stored_bytes(w.stall), talk[i].then);
    }
    tear_down(&w);
}

/* storage/DESIGN.md, "Sync": who speaks next. */
static void
stall__it_is_the_receivers_turn_until_all_was_answered(void **state)
{
    enum { OFFER = 1, WANT, CHUNK, MORE, TREE, MISSING, UNKNOWN, DONE };
    static const struct {
        uint8_t by_sender;
        uint8_t by_receiver;
        uint8_t first; /* byte of the receiver's */
        bool asked;    /* then */
    } talk[] = {
        {CHUNK, 0, 0, false}, {OFFER, 0, 0, true},   {OFFER, WANT, 1, true},
        {0, WANT, 0, false},  {CHUNK, 0, 0, false},  {MORE, 0, 0, false},
        {TREE, 0, 0, true},   {0, MISSING, 0, true}, {0, MISSING, 1, false},
        {CHUNK, 0, 0, false}, {TREE, 0, 0, true},    {0, UNKNOWN, 0, false},
        {TREE, 0, 0, true},   {0, DONE, 0, false},
    };
    struct world sender;
    struct world receiver;

    (void)state;
    set_up(&sender);
    set_up(&receiver);
    assert_false(stall_is_asked(sender.stall, receiver.stall));
    for (size_t i = 0; i < sizeof talk / sizeof talk[0]; i++) {
        if (talk[i].by_sender != 0) {
            take_frame(&sender, talk[i].by_sender, 0);
        }
        if (talk[i].by_receiver != 0) {
            take_frame(&receiver, talk[i].by_receiver, talk[i].first);
        }
        assert_int_equal(stall_is_asked(sender.stall, receiver.stall), talk[i].asked);
    }
    tear_down(&sender);
    tear_down(&receiver);
}

static void
stall__is_told_with_what_to_do(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(stall_error("h1", &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_non_null(strstr(e.msg, "host 'h1' fell silent"));
    assert_non_null(strstr(e.msg, "gpurun host doctor h1"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stall__in_the_middle_of_a_frame_is_one_at_each_byte),
        cmocka_unit_test(stall__between_frames_is_none),
        cmocka_unit_test(stall__an_answer_that_is_due_and_bytes_that_nobody_takes),
        cmocka_unit_test(stall__of_a_slow_disk_has_ten_times_as_long),
        cmocka_unit_test(stall__it_is_the_receivers_turn_until_all_was_answered),
        cmocka_unit_test(stall__counts_what_is_kept_of_chunks_and_nothing_else),
        cmocka_unit_test(stall__is_told_with_what_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
