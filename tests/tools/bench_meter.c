/*
 * bench_meter DIR [ROWS [PART]]: what metering costs, in one run on one disk. Durable
 * journal appends and ledger entries a second against a bare SQLite insert loop with the
 * same durability and as many bytes a row in its file, one by one and in groups; ROWS
 * (10,000,000) usage rows as `gpurun bill` and `audit` verify them; a month's statement
 * by the command itself, of 10,000 short receipts and of ROWS rows in sessions of a month
 * each; the log of ROWS entries of a ledger and the proof of them. Prints one line each,
 * with the ratio to its goal. PART: only that, "events", "usage", "bills" or "ledger".
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/db.h"
#include "base/file.h"
#include "base/num.h"
#include "meter/card.h"
#include "meter/ledger.h"
#include "meter/receipt.h"
#include "meter/session.h"

#define NS_PER_S    INT64_C(1000000000)
#define RUN_NS      NS_PER_S
#define ROUNDS      5 /* of each in turn; odd, for the middle one */
#define GROUP       1000
#define ROW_BYTES   120 /* so a row takes as much of the file as an entry and its id */
#define ID_BYTES    36  /* of them, an id in row and index */
#define ROWS        10000000
#define MONTH_NS    (30 * 86400 * NS_PER_S)
#define START_NS    (1795435200 * NS_PER_S)
#define NOVEMBER_NS (1793462400 * NS_PER_S) /* 2026-11 begins in Shanghai */

static void
must(int rc, const struct err *e)
{
    if (rc != 0) {
        fprintf(stderr, "bench_meter: %s\n", e->msg);
        exit(1);
    }
}

static int64_t
per_second(int64_t n, int64_t ns)
{
    return ns > 0 ? (int64_t)((__int128)n * NS_PER_S / ns) : 0;
}

/* ---- a bare insert loop ---- */

/* A second of a loop: how many, and what each took of the processor and of the file. */
struct pace {
    int64_t per_s;
    int64_t cpu_ns;
    int64_t file_bytes;
};

struct loop {
    int64_t start_ns;
    int64_t start_cpu_ns;
};

/* All of this process: it does nothing else. */
static int64_t
cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static struct loop
loop_begin(void)
{
    return (struct loop){clock_mono_ns(), cpu_ns()};
}

static bool
loop_goes_on(const struct loop *l)
{
    return clock_mono_ns() - l->start_ns < RUN_NS;
}

/* The file goes away. */
static struct pace
loop_end(const struct loop *l, int64_t n, const char *path)
{
    struct pace p = {.per_s = per_second(n, clock_mono_ns() - l->start_ns),
                     .cpu_ns = (cpu_ns() - l->start_cpu_ns) / n};
    struct stat st;

    if (stat(path, &st) != 0) {
        perror(path);
        exit(1);
    }
    p.file_bytes = st.st_size / n;
    (void)unlink(path);
    return p;
}

/* A table's rows, n a transaction. with_id: each has an id that no other row has, as what
 * is asked for a second time must be known again. */
static struct pace
bare_inserts(const char *dir, int group, bool with_id)
{
    static const char row[ROW_BYTES];
    const struct db_options o = {
        .application_id = 7,
        .version = 1,
        .schema = with_id
                      ? "CREATE TABLE t(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
                        " row BLOB NOT NULL) STRICT;"
                      : "CREATE TABLE t(n INTEGER PRIMARY KEY, row BLOB NOT NULL)"
                        " STRICT;"};
    char *path = path_join(dir, "bare");
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    struct err e = {0};
    struct loop loop;
    struct pace pace;
    char id[40];
    int64_t n = 0;

    must(db_open(&db, path, &o, &e), &e);
    must(db_prepare(db,
                    with_id ? "INSERT INTO t(row, id) VALUES(?1, ?2)"
                            : "INSERT INTO t(row) VALUES(?1)",
                    &s, &e),
         &e);
    loop = loop_begin();
    while (loop_goes_on(&loop)) {
        must(db_exec(db, "BEGIN IMMEDIATE", &e), &e);
        for (int i = 0; i < group; i++, n++) {
            bool have;

            if (with_id) {
                (void)snprintf(id, sizeof id, "topup:%" PRId64, n);
                (void)sqlite3_bind_text(s, 2, id, -1, SQLITE_STATIC);
            }
            (void)sqlite3_bind_blob(s, 1, row, with_id ? ROW_BYTES - ID_BYTES : ROW_BYTES,
                                    SQLITE_STATIC);
            must(db_step(db, s, &have, &e), &e);
        }
        must(db_exec(db, "COMMIT", &e), &e);
    }
    pace = loop_end(&loop, n, path);
    (void)sqlite3_finalize(s);
    db_close(db);
    free(path);
    return pace;
}

/* ---- the journal ---- */

static void
make_terms(struct offer *o, struct grant *g, const struct sign_key *host,
           const struct sign_key *renter, int64_t i)
{
    const struct offer_device gpu = {"gpu", "4090", "GPU-1", 25769803776, 1};
    struct card *card = card_new();
    int64_t now_ns = clock_wall_ns();
    struct err e = {0};

    must(card_set(card, "4090=1.88", 0, &e), &e);
    offer_add_device(o, &gpu);
    o->made_wall_ns = now_ns;
    o->until_wall_ns = now_ns + 86400 * NS_PER_S;
    o->own_book = true;
    must(offer_set_card(o, card, NULL, now_ns / NS_PER_S, &e), &e);
    must(offer_sign(o, host, &e), &e);
    grant_init(g);
    (void)snprintf(g->lease, sizeof g->lease, "l%012" PRIx64, i);
    (void)snprintf(g->job, sizeof g->job, "j%012" PRIx64, i);
    sign_key_public(renter, &g->renter);
    must(grant_set_offer(g, o, "gpu", "4090", 1, &e), &e);
    g->cap_fen = 100000;
    g->until_wall_ns = now_ns + 600 * NS_PER_S;
    g->made_wall_ns = now_ns;
    must(grant_sign(g, renter, &e), &e);
    card_free(card);
}

static struct pace
journal_appends(const char *dir)
{
    struct sign_key *host = NULL;
    struct sign_key *renter = NULL;
    struct offer *o = offer_new();
    struct meter_session *s = NULL;
    struct grant g;
    struct err e = {0};
    struct loop loop;
    struct pace pace;
    char *path = path_join(dir, "usage");
    int64_t n = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    must(sign_key_new(&host, &e), &e);
    must(sign_key_new(&renter, &e), &e);
    make_terms(o, &g, host, renter, 1);
    must(meter_session_start(&s,
                             &(struct meter_session_options){
                                 .dir_fd = fd, .host_key = host, .offer = o, .grant = &g},
                             &e),
         &e);
    loop = loop_begin();
    for (; loop_goes_on(&loop); n++) {
        must(meter_session_state(s, n % 2 == 0 ? USAGE_PREPARING : USAGE_SHIPPING,
                                 "bench", &e),
             &e);
    }
    meter_session_free(s);
    pace = loop_end(&loop, n, path);
    grant_clear(&g);
    offer_free(o);
    sign_key_free(host);
    sign_key_free(renter);
    (void)close(fd);
    free(path);
    return pace;
}

/* ---- the ledger ---- */

static void
one_entry(struct ledger *l, int64_t i, int64_t wall_ns)
{
    char id[40];
    struct err e = {0};

    (void)snprintf(id, sizeof id, "%" PRId64, i);
    must(ledger_topup(l, id, 1 + i % 100, wall_ns, NULL, &e), &e);
}

static struct pace
ledger_entries(const char *dir, int group)
{
    char *path = path_join(dir, group > 1 ? "ledger-group" : "ledger-one");
    struct ledger *l = NULL;
    struct err e = {0};
    struct loop loop;
    struct pace pace;
    int64_t n = 0;

    must(ledger_open(&l, path, &e), &e);
    loop = loop_begin();
    while (loop_goes_on(&loop)) {
        if (group > 1) {
            must(ledger_begin(l, &e), &e);
        }
        for (int i = 0; i < group; i++) {
            one_entry(l, n++, START_NS);
        }
        if (group > 1) {
            must(ledger_commit(l, &e), &e);
        }
    }
    pace = loop_end(&loop, n, path);
    ledger_close(l);
    free(path);
    return pace;
}

static int
count_entry(void *ctx, const struct ledger_entry *en, struct err *e)
{
    int64_t *n = ctx;

    (void)en;
    (void)e;
    ++*n;
    return 0;
}

static int64_t
peak_kib(void)
{
    struct rusage r;

    (void)getrusage(RUSAGE_SELF, &r);
    return r.ru_maxrss;
}

static void
big_ledger(const char *dir, int64_t rows)
{
    char *path = path_join(dir, "ledger-big");
    struct ledger *l = NULL;
    struct err e = {0};
    int64_t start_ns = clock_mono_ns();
    int64_t half_kib = 0;
    int64_t seen = 0;
    int64_t ns;

    must(ledger_open(&l, path, &e), &e);
    for (int64_t i = 0; i < rows;) {
        must(ledger_begin(l, &e), &e);
        for (int k = 0; k < 20 * GROUP && i < rows; k++, i++) {
            one_entry(l, i, START_NS + (int64_t)((__int128)MONTH_NS * i / rows));
        }
        must(ledger_commit(l, &e), &e);
        half_kib = i <= rows / 10 ? peak_kib() : half_kib;
    }
    ns = clock_mono_ns() - start_ns;
    printf("ledger of %" PRId64 " entries      made in %" PRId64 " s, %" PRId64
           " entries/s\n",
           rows, ns / NS_PER_S, per_second(rows, ns));
    start_ns = clock_mono_ns();
    must(ledger_each(l, START_NS, START_NS + MONTH_NS, count_entry, &seen, &e), &e);
    ns = clock_mono_ns() - start_ns;
    if (seen != rows) {
        fprintf(stderr, "bench_meter: the log lacks entries\n");
        exit(1);
    }
    printf("a month's log of them          %" PRId64 " ms\n", ns / 1000000);
    start_ns = clock_mono_ns();
    seen = 0;
    must(ledger_each(l, START_NS + MONTH_NS / 2, START_NS + MONTH_NS / 2 + MONTH_NS / 30,
                     count_entry, &seen, &e),
         &e);
    printf("a day's, %" PRId64 " of them %" PRId64 " us\n", seen,
           (clock_mono_ns() - start_ns) / 1000);
    start_ns = clock_mono_ns();
    must(ledger_check(l, &e), &e);
    ns = clock_mono_ns() - start_ns;
    printf("the proof of all of them       %" PRId64 " ms (goal 6000), %" PRId64
           " entries/s\n",
           ns / 1000000, per_second(rows, ns));
    printf("memory                         %" PRId64 " KiB at a tenth, %" PRId64
           " KiB after all\n",
           half_kib, peak_kib());
    ledger_close(l);
    free(path);
}

/* ---- usage rows: a month of journals, verified ---- */

#define SESSION_ROWS 259200 /* a device for a month, a record each 10 s */

static int64_t bench_now_ns;
static int64_t bench_start_ns = START_NS;

static int64_t
bench_clock(enum clock_kind kind)
{
    return kind == CLOCK_KIND_WALL ? bench_start_ns + bench_now_ns : bench_now_ns;
}

/* The two who sign. */
struct pair {
    struct sign_key *host;
    struct sign_key *renter;
};

static struct pair
new_pair(void)
{
    struct pair p = {NULL, NULL};
    struct err e = {0};

    must(sign_key_new(&p.host, &e), &e);
    must(sign_key_new(&p.renter, &e), &e);
    return p;
}

static void
free_pair(struct pair *p)
{
    sign_key_free(p->host);
    sign_key_free(p->renter);
}

/*
 * The whole session of job i, n records, as dir/JOB, made in memory's file system: only
 * its bytes matter.
 */
static void
make_session(const char *dir, const struct pair *p, int64_t n, int64_t i)
{
    struct offer *o = offer_new();
    struct meter_session *s = NULL;
    struct meter_end end = {.reason = "exited"};
    struct grant g;
    struct err e = {0};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    bench_now_ns += NS_PER_S;
    clock_set_source(bench_clock);
    make_terms(o, &g, p->host, p->renter, i);
    must(meter_session_start(
             &s,
             &(struct meter_session_options){
                 .dir_fd = fd, .host_key = p->host, .offer = o, .grant = &g},
             &e),
         &e);
    must(meter_session_state(s, USAGE_RUNNING, "ready", &e), &e);
    for (int64_t k = 3; k < n; k++) {
        bench_now_ns += 10 * NS_PER_S;
        must(meter_session_tick(s, &e), &e);
    }
    must(meter_session_end(s, &end, &e), &e);
    clock_set_source(NULL);
    meter_session_free(s);
    if (renameat(fd, "usage", fd, g.job) != 0) {
        perror("bench_meter");
        exit(1);
    }
    grant_clear(&g);
    offer_free(o);
    (void)close(fd);
}

static void
make_dir(char *dir)
{
    if (mkdtemp(dir) == NULL) {
        fprintf(stderr, "bench_meter: cannot make a directory in /dev/shm\n");
        exit(1);
    }
}

/* All of them; the rows seen. */
static int64_t
verify(struct receipt_task *tasks, size_t n, int64_t *ns)
{
    int64_t start_ns = clock_mono_ns();
    int64_t seen = 0;

    receipt_verify_files(tasks, n);
    *ns = clock_mono_ns() - start_ns;
    for (size_t i = 0; i < n; i++) {
        must(tasks[i].out == NULL ? -1 : 0, &tasks[i].e);
        seen += tasks[i].out->last.seq;
        receipt_free(tasks[i].out);
    }
    return seen;
}

/*
 * One session's journal, as often as makes so many rows: whole chain, every sum, head
 * signature of each. `audit` does this, and `bill` when it sees the files for the first
 * time.
 */
static void
usage_rows(int64_t rows)
{
    char dir[] = "/dev/shm/bench-meter-XXXXXX";
    int64_t each = rows < SESSION_ROWS ? rows : SESSION_ROWS;
    size_t n = (size_t)((rows + each - 1) / each);
    struct receipt_task *tasks = xcalloc(n, sizeof *tasks);
    struct pair p = new_pair();
    char *path;
    struct err e = {0};
    int64_t ns;
    int64_t seen;
    int64_t before_kib;

    make_dir(dir);
    make_session(dir, &p, each, 1);
    path = path_join(dir, "j000000000001");
    before_kib = peak_kib();
    for (size_t i = 0; i < n; i++) {
        tasks[i].path = path;
    }
    seen = verify(tasks, n, &ns);
    printf("%" PRId64 " usage rows verified    %" PRId64 " ms (goal 6000), %" PRId64
           " rows/s, %" PRId64 " KiB more\n",
           seen, ns / 1000000, per_second(seen, ns), peak_kib() - before_kib);
    tasks[0].pins = (struct receipt_pins){.check_all = true};
    (void)verify(tasks, 1, &ns);
    printf("every signature of %" PRId64 " rows  %" PRId64 " ms on one core\n", each,
           ns / 1000000);
    must(file_remove_tree(dir, &e), &e);
    free_pair(&p);
    free(path);
    free(tasks);
}

/* ---- a month of receipts, by the command itself ---- */

#define RECEIPTS     10000
#define RECEIPT_ROWS 30

/* bin/gpurun of the build folder that this program lies in. */
static char *
gpurun_path(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    for (int up = 0; n > 0 && up < 3; up++) { /* tests/tools/bench_meter */
        while (n > 0 && self[--n] != '/') {
        }
    }
    self[n > 0 ? n : 0] = '\0';
    return path_join(self, "bin/gpurun");
}

/* How long it took, in ms, and the most memory it had; what it prints goes into out. */
static int64_t
run_bill(const char *program, const char *command, const char *out, int64_t *kib)
{
    struct rusage r;
    int64_t start_ns = clock_mono_ns();
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        (void)dup2(fd, STDOUT_FILENO);
        (void)execl(program, program, "--json", command, "--month", "2026-11", NULL);
        _exit(127);
    }
    if (pid == -1 || wait4(pid, &status, 0, &r) != pid || status != 0) {
        fprintf(stderr, "bench_meter: gpurun %s failed\n", command);
        exit(1);
    }
    *kib = r.ru_maxrss;
    return (clock_mono_ns() - start_ns) / 1000000;
}

/* Of jobs 1 to n those that are first, first + step, first + 2 step, … */
static void
make_some(const char *dir, const struct pair *p, int64_t first, int64_t step, int64_t n,
          int64_t each)
{
    bench_start_ns = NOVEMBER_NS;
    for (int64_t i = first; i <= n; i += step) {
        bench_now_ns = i * NS_PER_S % (each == SESSION_ROWS ? 1 : MONTH_NS / 2);
        make_session(dir, p, each, i);
    }
}

/* All n, by as many processes as there are cores: making them takes longer than all that
 * is measured. Each works in a directory of its own, for an open journal has one name. */
static void
make_receipts(const char *dir, const struct pair *p, int64_t n, int64_t each)
{
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool well = true;
    struct err e = {0};

    for (int64_t k = 1; k <= cores; k++) {
        char *part = xasprintf("%s/part-%" PRId64, dir, k);
        pid_t pid;

        must(file_mkdirs(part, 0700, &e), &e);
        pid = fork();
        if (pid == 0) {
            make_some(part, p, k, cores, n, each);
            _exit(0);
        }
        well = well && pid != -1;
        free(part);
    }
    for (int64_t k = 1; k <= cores; k++) {
        int status = 0;

        well = wait(&status) != -1 && status == 0 && well;
    }
    for (int64_t i = 1; well && i <= n; i++) {
        char *made =
            xasprintf("%s/part-%" PRId64 "/j%012" PRIx64, dir, (i - 1) % cores + 1, i);
        char *place = xasprintf("%s/j%012" PRIx64, dir, i);

        well = rename(made, place) == 0;
        free(made);
        free(place);
    }
    for (int64_t k = 1; k <= cores; k++) {
        char *part = xasprintf("%s/part-%" PRId64, dir, k);

        well = rmdir(part) == 0 && well;
        free(part);
    }
    if (!well) {
        fprintf(stderr, "bench_meter: cannot make the receipts\n");
        exit(1);
    }
}

static void
must_be_same(const char *path, const char *other)
{
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;
    struct err e = {0};

    must(file_read(path, (size_t)1 << 30, &a, &e), &e);
    must(file_read(other, (size_t)1 << 30, &b, &e), &e);
    if (a.len == 0 || a.len != b.len || memcmp(a.data, b.data, a.len) != 0) {
        fprintf(stderr, "bench_meter: another bill the second time\n");
        exit(1);
    }
    buf_free(&a);
    buf_free(&b);
}

/* The command over n receipts of so many rows, all of one month. */
static void
statement(int64_t n, int64_t each)
{
    char dir[] = "/dev/shm/bench-meter-XXXXXX";
    struct pair p = new_pair();
    struct sign_key *own = NULL;
    char *program = gpurun_path();
    char *receipts;
    char *key;
    char *first;
    char *again;
    struct err e = {0};
    int64_t kib = 0;
    int64_t made_ns;
    int64_t ms;

    make_dir(dir);
    receipts = path_join(dir, "receipts");
    key = path_join(dir, "key");
    first = path_join(dir, "first");
    again = path_join(dir, "again");
    must(file_mkdirs(receipts, 0700, &e), &e);
    must(sign_key_open(&own, key, &e), &e);
    made_ns = clock_mono_ns();
    make_receipts(receipts, &p, n, each);
    made_ns = clock_mono_ns() - made_ns;
    (void)setenv("GPURUN_HOME", dir, 1);
    (void)sleep(3); /* what changed just now is remembered of no file */
    ms = run_bill(program, "bill", first, &kib);
    printf("gpurun bill, %5" PRId64 " receipts of %" PRId64 " rows: %" PRId64
           " ms the first time, %" PRId64 " KiB\n",
           n, each, ms, kib);
    printf("    made in                    %" PRId64 " s\n", made_ns / NS_PER_S);
    ms = run_bill(program, "bill", again, &kib);
    must_be_same(first, again);
    printf("    from then on               %" PRId64 " ms (goal 2000), %" PRId64
           ".%03" PRId64 " of the goal, %" PRId64 " KiB\n",
           ms, ms / 2000, ms % 2000 / 2, kib);
    ms = run_bill(program, "audit", again, &kib);
    printf("    gpurun audit               %" PRId64 " ms, %" PRId64 " KiB\n", ms, kib);
    must(file_remove_tree(dir, &e), &e);
    sign_key_free(own);
    free_pair(&p);
    free(program);
    free(receipts);
    free(key);
    free(first);
    free(again);
}

/* Many short ones, and all rows as sessions of a month each. */
static void
bills(int64_t rows)
{
    int64_t n = rows / RECEIPT_ROWS < RECEIPTS ? rows / RECEIPT_ROWS : RECEIPTS;

    statement(n, RECEIPT_ROWS);
    statement(rows / SESSION_ROWS + 1, rows < SESSION_ROWS ? rows : SESSION_ROWS);
}

/* A ratio with two decimals, in whole numbers. */
static void
print_ratio(int64_t ours, int64_t other)
{
    int64_t percent = other > 0 ? ours * 100 / other : 0;

    printf("%" PRId64 ".%02" PRId64, percent / 100, percent % 100);
}

static void
compare(const char *what, const struct pace *ours, const struct pace *bare)
{
    printf("%-30s %8" PRId64 "/s, ", what, ours->per_s);
    print_ratio(ours->per_s, bare->per_s);
    printf("x of a bare insert loop's %" PRId64 "/s (goal 0.80)\n", bare->per_s);
}

/* What the disk has no part in; a quick one leaves just this between the two. */
static void
print_cpu(const char *what, const struct pace *p)
{
    printf("    %-26s %8" PRId64 " ns of the processor, %" PRId64 " bytes of the file\n",
           what, p->cpu_ns, p->file_bytes);
}

static int
by_pace(const void *a, const void *b)
{
    const struct pace *x = a;
    const struct pace *y = b;

    return i64_cmp(x->per_s, y->per_s);
}

static const struct pace *
middle(struct pace v[ROUNDS])
{
    qsort(v, ROUNDS, sizeof *v, by_pace);
    return &v[ROUNDS / 2];
}

/* All of them in turn, so that what else the machine does hits them alike. */
static void
events(const char *dir)
{
    struct pace bare[ROUNDS];
    struct pace journal[ROUNDS];
    struct pace one[ROUNDS];
    struct pace bare_group[ROUNDS];
    struct pace id_group[ROUNDS];
    struct pace group[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        bare[i] = bare_inserts(dir, 1, false);
        journal[i] = journal_appends(dir);
        one[i] = ledger_entries(dir, 1);
        bare_group[i] = bare_inserts(dir, GROUP, false);
        id_group[i] = bare_inserts(dir, GROUP, true);
        group[i] = ledger_entries(dir, GROUP);
    }
    compare("journal appends, durable", middle(journal), middle(bare));
    compare("ledger entries, durable", middle(one), middle(bare));
    compare("ledger entries, in groups", middle(group), middle(bare_group));
    printf("%-30s goal 10000/s; ", "");
    print_ratio(middle(group)->per_s, middle(id_group)->per_s);
    printf("x of a loop's whose rows have a unique id, %" PRId64 "/s\n",
           middle(id_group)->per_s);
    print_cpu("an entry", middle(group));
    print_cpu("a bare row", middle(bare_group));
    print_cpu("a row with a unique id", middle(id_group));
}

int
main(int argc, char **argv)
{
    int64_t rows = argc > 2 ? strtoll(argv[2], NULL, 10) : ROWS;
    const char *part = argc > 3 ? argv[3] : "";

    if (argc < 2 || rows < 1) {
        fprintf(stderr, "usage: bench_meter DIR [ROWS [PART]]\n");
        return 2;
    }
    if (*part == '\0' || strcmp(part, "events") == 0) {
        events(argv[1]);
    }
    if (*part == '\0' || strcmp(part, "usage") == 0) {
        usage_rows(rows);
    }
    if (*part == '\0' || strcmp(part, "bills") == 0) {
        bills(rows);
    }
    if (*part == '\0' || strcmp(part, "ledger") == 0) {
        big_ledger(argv[1], rows);
    }
    return 0;
}
