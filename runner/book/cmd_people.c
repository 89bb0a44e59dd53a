#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/authkeys.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/columns.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/book/commands.h"

#define PATH_BYTES  4096
#define SERVES      "serve --account"
#define SERVES_HOST "serve --host"
#define KEY_MAX     ((size_t)4096)
#define KEY_HEX_LEN ((size_t)2 * SIGN_PUBLIC_LEN)

/* ---- the book's own ---- */

int
book_cmd_key(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    struct book *book = NULL;
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    char id[SIGN_ID_LEN + 1];
    int rc = 0;

    (void)argc;
    (void)argv;
    if (book_open(&book, e) != 0) {
        return -1;
    }
    sign_public_format(&book->pub, hex);
    sign_public_id(&book->pub, id);
    if (o->json) {
        json_obj(&j);
        json_kstr(&j, "id", id);
        json_kstr(&j, "key", hex);
        json_obj_end(&j);
        rc = program_print_json(&b, e);
    } else {
        (void)printf("%s\n", hex);
    }
    book_close(book);
    return rc;
}

int
book_cmd_fee(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    struct book *book = NULL;
    char text[MONEY_TEXT_MAX];
    int64_t bps = 0;
    int rc = -1;

    /* Per cent with two decimals are hundredths, too. */
    if (argc > 0 && money_parse_fen(argv[0], strlen(argv[0]), &bps, e) != 0) {
        return err_wrap(e, "a percentage");
    }
    if (bps > BOOK_FEE_MAX_BPS) {
        return err_set(e, ERR_INVALID, "a fee is 100 per cent at most");
    }
    if (book_open(&book, e) != 0 || (argc > 0 && book_set_fee(book, bps, e) != 0)) {
        goto out;
    }
    rc = 0;
    if (o->json) {
        json_obj(&j);
        json_kint(&j, "fee_bps", book->fee_bps);
        json_obj_end(&j);
        rc = program_print_json(&b, e);
    } else {
        money_format_fen(book->fee_bps, text);
        (void)printf("%s %%\n", text);
    }

out:
    book_close(book);
    return rc;
}

/* ---- renters ---- */

/* What sshd is to run: this very program, with the home it has now. */
static int
forced_command(const struct book *b, struct buf *out, struct err *e)
{
    char exe[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (n <= 0) {
        return err_set_sys(e, errno, "cannot find my own program");
    }
    exe[n] = '\0';
    if (getenv("GPURUN_BOOK_HOME") != NULL) {
        buf_add_str(out, "env GPURUN_BOOK_HOME=");
        text_shell_quote(out, b->home);
        buf_add_str(out, " ");
    }
    text_shell_quote(out, exe);
    return 0;
}

static int
check_name_is_free(const struct book *b, const char *name, const char *id, struct err *e)
{
    struct account a;
    int rc = 0;

    if (account_find(b, name, &a, e) != 0) {
        return e->code == ERR_NOT_FOUND ? 0 : -1;
    }
    if (strcmp(a.id, id) != 0) {
        rc = err_set(e, ERR_EXISTS, "another account is called '%s' already", name);
    }
    account_free(&a);
    return rc;
}

static int
say_account(const struct command_options *o, const struct account *a, const char *what,
            struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);

    if (!o->json) {
        (void)printf("%s (%s) %s\n", a->name, a->id, what);
        return 0;
    }
    json_obj(&j);
    json_kstr(&j, "id", a->id);
    json_kstr(&j, "name", a->name);
    json_obj_end(&j);
    return program_print_json(&b, e);
}

int
book_cmd_allow(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct authkey k = {NULL, NULL, ""};
    struct buf command = BUF_INIT;
    struct book *b = NULL;
    struct account a;
    struct err none;
    int rc = -1;

    (void)argc;
    memset(&a, 0, sizeof a);
    if (book_check_name(o->name, e) != 0) {
        return err_wrap(e, "--name");
    }
    if (authkey_load(&k, argv[0], e) != 0 || book_open(&b, e) != 0 ||
        check_name_is_free(b, o->name, k.id, e) != 0 ||
        book_check_room(b, "accounts", k.id, e) != 0 ||
        forced_command(b, &command, e) != 0) {
        goto out;
    }
    if (account_load(b, k.id, &a, &none) != 0) {
        memset(&a, 0, sizeof a);
        memcpy(a.id, k.id, sizeof a.id);
        a.made_wall_ns = clock_wall_ns();
    }
    (void)snprintf(a.name, sizeof a.name, "%s", o->name);
    a.revoked = false;
    free(a.ssh_key);
    a.ssh_key = xasprintf("%s %s", k.type, k.blob);
    /* The account first: a key that is let in without one would be turned away. */
    if (account_save(b, &a, e) == 0 &&
        authkeys_allow(&k, buf_str(&command), SERVES, 0, o->name, e) == 0) {
        rc = say_account(o, &a, _("has an account here"), e);
    }

out:
    account_free(&a);
    buf_free(&command);
    authkey_free(&k);
    book_close(b);
    return rc;
}

int
book_cmd_revoke(const struct command_options *o, int argc, char **argv, struct err *e)
{
    struct book *b = NULL;
    struct account a;
    int n = 0;
    int rc = -1;

    (void)argc;
    memset(&a, 0, sizeof a);
    if (book_open(&b, e) == 0 && account_find(b, argv[0], &a, e) == 0) {
        a.revoked = true;
        if (account_save(b, &a, e) == 0 && authkeys_revoke(SERVES, a.id, &n, e) == 0) {
            rc = say_account(o, &a, _("gets no more grants; its money stays"), e);
        }
    }
    account_free(&a);
    book_close(b);
    return rc;
}

static int
account_row(struct book *b, const char *id, struct json_writer *j, struct columns *c,
            struct err *e)
{
    struct account a;
    struct ledger_funds f;
    char money[MONEY_TEXT_MAX];

    if (account_load(b, id, &a, e) != 0) {
        return -1;
    }
    ledger_use(b->ledger, a.id);
    if (ledger_funds(b->ledger, &f, e) != 0) {
        account_free(&a);
        return -1;
    }
    if (c == NULL) {
        json_obj(j);
        json_kstr(j, "id", a.id);
        json_kstr(j, "name", a.name);
        json_kbool(j, "closed", a.revoked);
        json_kint(j, "balance_fen", f.balance_fen);
        json_kint(j, "held_fen", f.held_fen);
        json_kint(j, "free_fen", f.free_fen);
        json_obj_end(j);
    } else {
        columns_add(c, a.id);
        columns_add(c, a.name);
        columns_add(c, a.revoked ? _("closed") : a.has_key ? _("open") : _("never seen"));
        money_format_fen(f.balance_fen, money);
        columns_add(c, money);
        money_format_fen(f.held_fen, money);
        columns_add(c, money);
        money_format_fen(f.free_fen, money);
        columns_add(c, money);
    }
    account_free(&a);
    return 0;
}

int
book_cmd_accounts(const struct command_options *o, int argc, char **argv, struct err *e)
{
    static const char *const titles[] = {N_("ACCOUNT"), N_("NAME"), N_("IS"),
                                         N_("BALANCE"), N_("HELD"), N_("FREE")};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct columns *c = NULL;
    struct book_ids l = {NULL, 0};
    struct book *b = NULL;
    int rc = -1;

    (void)argc;
    (void)argv;
    if (book_open(&b, e) != 0 || book_list(b, "accounts", &l, e) != 0) {
        goto out;
    }
    if (o->json) {
        json_obj(&j);
        json_key(&j, "accounts");
        json_arr(&j);
    } else {
        c = columns_new(6, titles);
    }
    rc = 0;
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        rc = account_row(b, l.v[i], &j, c, e);
    }
    if (o->json) {
        json_arr_end(&j);
        json_obj_end(&j);
        rc = rc == 0 ? program_print_json(&out, e) : -1;
    } else {
        columns_print_free(c);
    }

out:
    buf_free(&out);
    free(l.v);
    book_close(b);
    return rc;
}

/* ---- hosts ---- */

/* 64 hex digits, or a file that begins with them. */
static int
parse_key(const char *word, struct sign_public *out, struct err *e)
{
    struct buf b = BUF_INIT;
    size_t n;
    bool ok;

    if (hex_parse(word, strlen(word), out->b, sizeof out->b)) {
        return 0;
    }
    if (file_read(word, KEY_MAX, &b, e) != 0) {
        return err_wrap(e, "a key is 64 hex digits, or a file that holds them");
    }
    n = strcspn(buf_str(&b), " \t\r\n");
    ok = n == KEY_HEX_LEN && hex_parse(buf_str(&b), n, out->b, sizeof out->b);
    buf_free(&b);
    return ok ? 0 : err_set(e, ERR_INVALID, "'%s' holds no key of 64 hex digits", word);
}

/* Its login: one that can only tell this book what that host has signed. */
static int
let_host_in(const struct book *b, const struct book_host *h, const char *key_file,
            struct err *e)
{
    struct authkey k = {NULL, NULL, ""};
    struct buf command = BUF_INIT;
    int rc = -1;

    if (authkey_load(&k, key_file, e) == 0 && forced_command(b, &command, e) == 0) {
        memcpy(k.id, h->id, sizeof k.id);
        rc = authkeys_allow(&k, buf_str(&command), SERVES_HOST, 0, h->name, e);
    }
    buf_free(&command);
    authkey_free(&k);
    return rc;
}

static int
add_host(struct book *b, const char *name, const char *key, const char *ssh_key,
         struct err *e)
{
    struct book_host h;
    struct book_host other;

    memset(&h, 0, sizeof h);
    if (book_check_name(name, e) != 0 || parse_key(key, &h.key, e) != 0) {
        return -1;
    }
    sign_public_id(&h.key, h.id);
    if (book_host_find(b, name, &other, e) == 0) {
        if (strcmp(other.id, h.id) != 0) {
            return err_set(e, ERR_EXISTS, "another host is called '%s' already", name);
        }
    } else if (e->code != ERR_NOT_FOUND || book_check_room(b, "hosts", h.id, e) != 0) {
        return -1;
    }
    (void)snprintf(h.name, sizeof h.name, "%s", name);
    if (book_host_save(b, &h, e) != 0) {
        return -1;
    }
    return ssh_key != NULL ? let_host_in(b, &h, ssh_key, e) : 0;
}

static int
remove_host(struct book *b, const char *name, struct err *e)
{
    struct book_host h;
    int n = 0;

    if (book_host_find(b, name, &h, e) != 0) {
        return -1;
    }
    h.removed = true;
    return book_host_save(b, &h, e) == 0 ? authkeys_revoke(SERVES_HOST, h.id, &n, e) : -1;
}

struct due {
    const char *id;
    int64_t fen;
};

static int
find_due(void *ctx, const struct ledger_account *a, struct err *e)
{
    static const char prefix[] = "owner:payable:";
    struct due *d = ctx;

    (void)e;
    if (strncmp(a->name, prefix, sizeof prefix - 1) == 0 &&
        strcmp(a->name + sizeof prefix - 1, d->id) == 0) {
        d->fen = a->credit_fen - a->debit_fen;
    }
    return 0;
}

static int
list_hosts(struct book *b, bool as_json, struct err *e)
{
    static const char *const titles[] = {N_("HOST"), N_("NAME"), N_("IS"), N_("DUE")};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct columns *c = as_json ? NULL : columns_new(4, titles);
    struct book_ids l = {NULL, 0};
    char money[MONEY_TEXT_MAX];
    int rc = book_list(b, "hosts", &l, e);

    json_obj(&j);
    json_key(&j, "hosts");
    json_arr(&j);
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        struct due d = {l.v[i], 0};
        struct book_host h;

        rc = book_host_load(b, l.v[i], &h, e) == 0
                 ? ledger_each_account(b->ledger, find_due, &d, e)
                 : -1;
        if (rc != 0) {
            break;
        }
        json_obj(&j);
        json_kstr(&j, "id", h.id);
        json_kstr(&j, "name", h.name);
        json_kbool(&j, "removed", h.removed);
        json_kint(&j, "due_fen", d.fen);
        json_obj_end(&j);
        if (c != NULL) {
            money_format_fen(d.fen, money);
            columns_add(c, h.id);
            columns_add(c, h.name);
            columns_add(c, h.removed ? _("removed") : _("known"));
            columns_add(c, money);
        }
    }
    json_arr_end(&j);
    json_obj_end(&j);
    if (c != NULL) {
        columns_print_free(c);
    } else if (rc == 0) {
        rc = program_print_json(&out, e);
    }
    buf_free(&out);
    free(l.v);
    return rc;
}

int
book_cmd_host(const struct command_options *o, int argc, char **argv, struct err *e)
{
    bool lists = strcmp(argv[0], "ls") == 0 && argc == 1;
    bool adds = strcmp(argv[0], "add") == 0 && argc == 3;
    bool removes = strcmp(argv[0], "rm") == 0 && argc == 2;
    struct book *b = NULL;
    int rc = -1;

    if ((!lists && !adds && !removes) || (o->ssh_key != NULL && !adds)) {
        return err_set(
            e, ERR_INVALID,
            "it is `host ls`, `host add NAME KEY [--ssh-key KEYFILE]` or `host "
            "rm NAME`");
    }
    if (book_open(&b, e) == 0) {
        rc = adds      ? add_host(b, argv[1], argv[2], o->ssh_key, e)
             : removes ? remove_host(b, argv[1], e)
                       : 0;
    }
    if (rc == 0) {
        rc = list_hosts(b, o->json, e);
    }
    book_close(b);
    return rc;
}
