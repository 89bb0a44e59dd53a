#ifndef RUNNER_CLIENT_TERMINAL_H
#define RUNNER_CLIENT_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Our terminal, for jobs that have one. Raw mode is put back by terminal_restore, which
 * is async-signal-safe, and at exit.
 */
int terminal_raw(int fd, struct err *e) MUST_USE;
void terminal_restore(void);
/* false: fd is no terminal that knows its size. */
bool terminal_size(int fd, uint16_t *cols, uint16_t *rows);

#endif
