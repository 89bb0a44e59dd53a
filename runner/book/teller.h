#ifndef RUNNER_BOOK_TELLER_H
#define RUNNER_BOOK_TELLER_H

/*
 * One connection of a renter or a host, on stdin and stdout: the verbs book.* of
 * runner/DESIGN.md. account_id: fixed by a forced command (`allow`); NULL: the account of
 * the key that the client shows, made if there is none, as who logs in here otherwise can
 * do all of it anyway. host_id: the login is this host's (`host add --ssh-key`), and
 * nobody else's; NULL: not so. Returns the exit status.
 */
int teller_main(const char *account_id, const char *host_id);

#endif
