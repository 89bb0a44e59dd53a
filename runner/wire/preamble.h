#ifndef RUNNER_WIRE_PREAMBLE_H
#define RUNNER_WIRE_PREAMBLE_H

/*
 * What comes before the frames: one magic line in each direction.
 *
 * Between us and the agent stands a login shell that may print whatever it likes, so
 * the client skips bytes until it sees PREAMBLE_READY, which only the agent itself
 * prints, or PREAMBLE_MISSING, which the client's own bootstrap shell snippet
 * prints where no fitting agent is installed. The noise is kept, its first
 * PREAMBLE_NOISE_KEPT bytes, to be shown (escaped) when nothing else comes.
 *
 * In the other direction, and on unix sockets, nothing may stand before the magic.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/rec.h"

/* '~' occurs once in each: the search never has to step back. */
#define PREAMBLE_READY   "~gpurun-agent-ready-5b7e1f0c93ad4862\n"
#define PREAMBLE_MISSING "~gpurun-agent-missing-5b7e1f0c93ad4862\n"
#define PREAMBLE_CLIENT  "~gpurun-client-5b7e1f0c93ad4862\n"
/*
 * In the snippet the line must be put together from two pieces ('~gpurun-agent-mis'
 * and 'sing-5b7e1f0c93ad4862'), or a shell that echoes its commands would answer for
 * it. After it follow lines "key=value", key [a-z0-9_]{1,32}, then a line "end".
 */
#define PREAMBLE_NOISE_MAX   ((size_t)4 << 20)
#define PREAMBLE_NOISE_KEPT  ((size_t)4096)
#define PREAMBLE_FACTS_MAX   32              /* lines after PREAMBLE_MISSING */
#define PREAMBLE_FACTS_BYTES ((size_t)16384) /* all of them */

enum preamble_kind {
    PREAMBLE_NONE = 0,   /* more bytes are needed */
    PREAMBLE_IS_READY,   /* frames follow */
    PREAMBLE_IS_CLIENT,  /* frames follow */
    PREAMBLE_IS_MISSING, /* no agent there; see preamble_facts */
};

struct preamble; /* one thread at a time */

/*
 * Expect PREAMBLE_READY or PREAMBLE_MISSING after at most noise_max bytes of noise
 * (from_agent), or PREAMBLE_CLIENT (not from_agent). noise_max 0: nothing may
 * precede the magic, and MISSING is refused too.
 */
struct preamble *preamble_new(bool from_agent, size_t noise_max);
void preamble_free(struct preamble *p); /* NULL allowed */

/*
 * Look at n more bytes. *used of them belong to the preamble (all of them while
 * *kind is PREAMBLE_NONE); the rest is for the frame decoder.
 * ERR_CORRUPT: more noise than allowed, or malformed facts; the message quotes the
 * noise, escaped and cut.
 */
int preamble_feed(struct preamble *p, const uint8_t *data, size_t n, size_t *used,
                  enum preamble_kind *kind, struct err *e) MUST_USE;

/* After PREAMBLE_IS_MISSING: record gpurun.bootstrap.v1 with the snippet's facts. p's. */
const struct rec *preamble_facts(const struct preamble *p);

/* The first noise seen, raw; stays p's. */
const uint8_t *preamble_noise(const struct preamble *p, size_t *len);

/*
 * The stream ended before any magic: fill *e (ERR_LINK) with what was heard instead,
 * e.g. "the host said: 'This account is currently not available.'". Returns -1.
 */
int preamble_explain_end(const struct preamble *p, struct err *e);

#endif
