#include "tests/unit/storage/crash_run.h"

#include <dirent.h>
#include <poll.h>

#include "storage/pack.h"
#include "storage/sync.h"

/*
 * As test_crash.c, for what becomes of a store that is in use for long: damage is found,
 * set aside and made good by the next who has the bytes; claims are kept, expire and are
 * regained; a tree arrives from elsewhere.
 */

/* ---- damage ---- */

/* Change one byte of a file under the root, behind the back of the one who counts. */
static void
spoil(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t b;

    if (fd == -1 || pread(fd, &b, 1, at) != 1) {
        abort();
    }
    b ^= 0x20;
    if (pwrite(fd, &b, 1, at) != 1 || fsync(fd) == -1 || close(fd) == -1) {
        abort();
    }
}

/* Call it for each pack: path and bytes. */
static void
each_pack(void (*f)(void *arg, const char *path, const struct buf *b), void *arg)
{
    char *packs = path_join(shim.root, "packs");
    DIR *d = opendir(packs);
    struct dirent *en;

    while (d != NULL && (en = readdir(d)) != NULL) {
        char *path = path_join(packs, en->d_name);
        struct buf b = BUF_INIT;
        struct err e;

        if (strstr(en->d_name, ".pack") != NULL &&
            file_read(path, (size_t)1 << 20, &b, &e) == 0) {
            f(arg, path, &b);
        }
        buf_free(&b);
        free(path);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(packs);
}

/* Spoil the first entry of this id: 3 bytes into what is stored. */
static void
spoil_entry(void *arg, const char *path, const struct buf *b)
{
    const struct sha256 *id = arg;
    const uint8_t *at = memmem(b->data, b->len, id->b, SHA256_LEN);

    if (at != NULL) { /* an entry's header holds it 16 bytes in */
        spoil(path, (off_t)(at - b->data) - 16 + PACK_ENTRY_LEN + 3);
    }
}

static void
spoil_end(void *arg, const char *path, const struct buf *b)
{
    (void)arg;
    spoil(path, (off_t)b->len - 1);
}

static void
spoil_first_header(void *arg, const char *path, const struct buf *b)
{
    (void)arg;
    (void)b;
    spoil(path, PACK_HEADER_LEN + 3);
}

/* A pack of somebody who died, that holds nothing. */
static void
add_junk(void)
{
    char *path = path_join(shim.root, "packs/0123456789abcdef0123456789abcdef.pack");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char junk[500];

    memset(junk, 'j', sizeof junk);
    if (fd == -1 && errno == ENOENT) { /* there is no store yet */
        free(path);
        return;
    }
    if (fd == -1 || write(fd, junk, sizeof junk) != (ssize_t)sizeof junk ||
        fsync(fd) == -1 || close(fd) == -1) {
        abort();
    }
    free(path);
}

/*
 * Two chunks are lost, one of them by two snapshots; one copy of a list, each pack's
 * table and its first header are damaged, which loses nothing; and there is junk.
 */
static void
spoil_packs(void)
{
    static const uint64_t lost[] = {8, 15};
    struct store *s = child_open();
    struct manifest *m = NULL;
    char name[MANIFEST_ID_MAX + 1];
    struct err e;

    shim.on = false;
    snap_name(1, name);
    if (s != NULL && manifest_read(s, name, &m, &e) == 0) {
        each_pack(spoil_entry, &m->tree);
    }
    manifest_free(m);
    for (size_t i = 0; i < 2; i++) {
        struct sha256 id = snap_chunk_id(lost[i]);

        told->hurt[told->n_hurt++] = lost[i];
        each_pack(spoil_entry, &id);
    }
    each_pack(spoil_first_header, NULL);
    each_pack(spoil_end, NULL);
    add_junk();
    shim.on = true;
    store_close(s);
}

/* Found by fsck, which sets aside what is lost; put again; looked at again; collected. */
static void
work_mend(void)
{
    struct store *s = child_open();
    bool found;

    child_snap(s, 0);
    child_snap(s, 1);
    store_close(s);
    spoil_packs();
    found = child_fsck();
    s = child_open();
    child_snap(s, 6);
    told->mended = found && told->made[6];
    store_close(s);
    (void)child_fsck();
    s = child_open();
    child_drop(s, 0);
    store_close(s);
    child_gc();
    child_gc();
}

/* Found by a reader, who strikes it from the index; then as above, without fsck. */
static void
work_mend_unchecked(void)
{
    struct store *s = child_open();
    /* Nothing fails but what ends the child: then what it found was struck, too. */
    bool found = shim.mode <= SHIM_POWER_SOME || shim.mode == SHIM_PLUG;

    child_snap(s, 0);
    child_snap(s, 1);
    store_close(s);
    spoil_packs();
    s = child_open();
    for (uint64_t i = 0; s != NULL && i < told->n_hurt; i++) {
        struct sha256 id = snap_chunk_id(told->hurt[i]);
        struct buf b = BUF_INIT;
        struct err e;

        found = store_get(s, &id, &b, &e) == -1 && e.code == ERR_CORRUPT && found;
        buf_free(&b);
    }
    child_snap(s, 6);
    told->mended = found && told->made[6];
    store_close(s);
    child_gc();
    child_gc();
}

/* ---- claims ---- */

static void
child_keep(struct store *s, uint64_t n, int64_t end)
{
    char id[MANIFEST_ID_MAX + 1];
    struct err e;

    snap_name(n, id);
    ask_end(n, end);
    if (s != NULL && step(snap_keep(s, id, end, &e)) == 0) {
        end_is_set(n, end);
    }
}

static void
child_expire(struct store *s, size_t want)
{
    struct snap_expiry r = {0};
    struct err e;

    if (s == NULL || step(snap_expire(s, &r, NULL, NULL, &e)) == -1) {
        return;
    }
    if (shim.mode == SHIM_COUNT && r.n_expired != want) {
        abort();
    }
    told->dropped[0] = told->dropped[0] || r.n_expired > 0;
}

/* Given up before: its bytes are put once more. */
static void
child_regain(struct store *s, uint64_t n, int64_t end)
{
    char id[MANIFEST_ID_MAX + 1];
    struct sha256 tree;
    struct err e;

    if (s == NULL || !told->dropped[n] ||
        step(snap_put_tree(s, span[n][0], span[n][1], &tree, &e)) == -1 ||
        step(store_commit(s, &e)) == -1) {
        return;
    }
    snap_name(n, id);
    ask_end(n, end);
    told->regaining[n] = true;
    if (step(snap_regain(s, id, end, &e)) == 0) {
        end_is_set(n, end);
        told->regained[n] = true;
    }
}

/* Kept for days; expired; collected; regained; kept for longer; given up and regained. */
static void
work_claims(void)
{
    int64_t began = told->wall_ns;
    struct store *s = child_open();

    child_expire(s, 0); /* a first look at the clock */
    days_pass(2);
    child_expire(s, 0); /* it can be believed */
    child_snap(s, 0);
    child_snap(s, 1);
    child_snap(s, 2);
    child_keep(s, 0, began + 6 * DAY);
    child_keep(s, 1, began + 100 * DAY);
    told->dropping[0] = true;
    days_pass(10);
    child_expire(s, 1);
    store_close(s);
    child_gc();
    child_gc();
    s = child_open();
    child_regain(s, 0, began + 60 * DAY);
    child_keep(s, 0, began + 70 * DAY);
    child_drop(s, 2);
    child_regain(s, 2, 0);
    store_close(s);
    child_gc();
    child_gc();
}

/* ---- what arrives ---- */

static void
wake(void *ctx)
{
    (void)!write(*(int *)ctx, "w", 1);
}

/* Carry bytes both ways until both are done, or one cannot go on. */
static bool
carry(struct sync_send *from, struct sync_recv *to, int wakeup)
{
    struct sha256 tree;
    struct err e;

    for (;;) {
        size_t len;
        const uint8_t *p = sync_send_output(from, &len);

        if (len > 0) {
            if (step(sync_recv_input(to, p, len, &e)) == -1) {
                return false;
            }
            sync_send_sent(from, len);
        }
        while ((p = sync_recv_output(to, &len)) != NULL) {
            if (sync_send_input(from, p, len, &e) == -1) {
                abort();
            }
            sync_recv_sent(to, len);
        }
        if (sync_recv_state(to, &tree) == SYNC_DONE) {
            return sha256_equal(&tree, &archive.tree);
        }
        if (sync_send_output(from, &len) == NULL) {
            struct pollfd ready = {.fd = wakeup, .events = POLLIN};
            char ignored[64];

            if (poll(&ready, 1, 10000) != 1 ||
                read(wakeup, ignored, sizeof ignored) <= 0) {
                abort();
            }
        }
    }
}

/* Committed now and then, as a long transfer is. */
static bool
child_receive(struct store *s)
{
    const struct sync_recv_options ro = {.commit_bytes = 200000};
    struct sync_send_options so = {.n_threads = 1, .wake = wake};
    struct sync_send *from = NULL;
    struct sync_recv *to = NULL;
    struct store *source = NULL;
    int wakeup[2];
    bool done = false;
    struct err e;

    if (pipe2(wakeup, O_CLOEXEC) == -1 ||
        store_open(&source, archive.store, NULL, &e) == -1) {
        abort();
    }
    so.wake_ctx = &wakeup[1];
    if (sync_send_store(&from, source, &archive.tree, &so, &e) == -1) {
        abort();
    }
    if (s != NULL && step(sync_recv_new(&to, s, &ro, &e)) == 0) {
        sync_send_begin(from, NULL);
        done = carry(from, to, wakeup[0]);
    }
    sync_recv_free(to);
    sync_send_free(from);
    store_close(source);
    (void)close(wakeup[0]);
    (void)close(wakeup[1]);
    return done;
}

/* A tree arrives and is claimed, after a snapshot was made and before one more is. */
static void
work_receive(void)
{
    struct store *s = child_open();
    struct err e;

    child_snap(s, 0);
    if (child_receive(s) && step(manifest_write_encoded(s, archive.manifest.data,
                                                        archive.manifest.len, &e)) == 0) {
        told->imported = true;
    }
    child_snap(s, 2);
    store_close(s);
}

static void
crash__anywhere_in_mending_damage_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_mend, 57);
}

static void
crash__anywhere_in_mending_what_a_reader_found_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_mend_unchecked, 57);
}

static void
crash__anywhere_in_keeping_expiry_and_regaining_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_claims, 57);
}

static void
crash__anywhere_in_receiving_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_receive, 57);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(crash__anywhere_in_mending_damage_breaks_no_promise,
                                  tell_where),
        cmocka_unit_test_teardown(
            crash__anywhere_in_mending_what_a_reader_found_breaks_no_promise, tell_where),
        cmocka_unit_test_teardown(
            crash__anywhere_in_keeping_expiry_and_regaining_breaks_no_promise,
            tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_receiving_breaks_no_promise,
                                  tell_where),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
