#ifndef RUNNER_CLIENT_WISHES_H
#define RUNNER_CLIENT_WISHES_H

#include "base/attr.h"
#include "base/rec.h"
#include "runner/loop/conn.h"

/*
 * Small requests whose answer nobody waits for (a signal, a stop), but which must not get
 * lost with a link: each is repeated, with its key, on every new connection until the
 * host has answered it. What it answers is not looked at.
 *
 * wishes_send on each connection that comes up, and after wishes_add.
 */
struct wishes;

struct wishes *wishes_new(void);
void wishes_free(struct wishes *w); /* NULL allowed */
/* req gets a key and is taken over. */
void wishes_add(struct wishes *w, struct rec *req);
void wishes_send(struct wishes *w, struct conn *c);

#endif
