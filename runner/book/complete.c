#include <stdlib.h>
#include <string.h>

#include "runner/book/commands.h"

static void
offer_accounts(const char *dir, const char *typed)
{
    struct book *b = NULL;
    struct book_ids l = {NULL, 0};
    struct err e;

    if (book_open(&b, &e) != 0 || book_list(b, dir, &l, &e) != 0) {
        book_close(b);
        return;
    }
    for (size_t i = 0; i < l.n; i++) {
        struct account a;
        struct book_host h;

        if (strcmp(dir, "accounts") == 0 && account_load(b, l.v[i], &a, &e) == 0) {
            program_offer(a.name[0] != '\0' ? a.name : a.id, a.id, typed);
            account_free(&a);
        } else if (strcmp(dir, "hosts") == 0 && book_host_load(b, l.v[i], &h, &e) == 0) {
            program_offer(h.name, h.id, typed);
        }
    }
    free(l.v);
    book_close(b);
}

void
book_offer_words(const struct command *c, int n, char **words, const char *typed)
{
    if (strcmp(c->name, "host") == 0 && n == 0) {
        program_offer("ls", "the hosts there are", typed);
        program_offer("add", "a host, with its key", typed);
        program_offer("rm", "no more grants for it", typed);
    } else if (strcmp(c->name, "voucher") == 0 && n == 0) {
        program_offer("ls", "the vouchers there are", typed);
        program_offer("add", "one for a renter", typed);
    } else if (strcmp(c->name, "voucher") == 0 && n == 1) {
        offer_accounts("accounts", typed);
    } else if (strcmp(c->name, "payout") == 0 ||
               (strcmp(c->name, "host") == 0 && n == 1 && strcmp(words[0], "rm") == 0)) {
        offer_accounts("hosts", typed);
    } else if (strcmp(c->name, "host") == 0 && n == 2) {
        program_offer_files();
    } else if (strncmp(c->args, "NAME", 4) == 0 || strcmp(c->args, "[NAME]") == 0) {
        offer_accounts("accounts", typed);
    } else if (strstr(c->args, "FILE") != NULL) {
        program_offer_files();
    }
}
