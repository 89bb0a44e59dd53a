#include "runner/wire/preamble.h"

#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/text.h"

#define FACT_KEY_MAX 32

static const char ready_magic[] = PREAMBLE_READY;
static const char missing_magic[] = PREAMBLE_MISSING;
static const char client_magic[] = PREAMBLE_CLIENT;

#define MAGIC_MAX sizeof missing_magic /* the longest, with its NUL */

struct preamble {
    bool from_agent;
    size_t noise_max;
    enum preamble_kind kind;

    uint8_t seen[MAGIC_MAX]; /* the part of a magic matched so far */
    size_t n_seen;

    struct buf noise; /* the first PREAMBLE_NOISE_KEPT bytes of it */
    size_t n_noise;   /* all of it */

    bool in_facts;     /* MISSING was seen, its lines are being read */
    size_t facts_read; /* bytes of them */
    struct buf line;
    struct rec *facts;
};

struct preamble *
preamble_new(bool from_agent, size_t noise_max)
{
    struct preamble *p = xcalloc(1, sizeof *p);

    p->from_agent = from_agent;
    p->noise_max = noise_max;
    return p;
}

void
preamble_free(struct preamble *p)
{
    if (p == NULL) {
        return;
    }
    buf_free(&p->noise);
    buf_free(&p->line);
    rec_free(p->facts);
    free(p);
}

const struct rec *
preamble_facts(const struct preamble *p)
{
    return p->kind == PREAMBLE_IS_MISSING ? p->facts : NULL;
}

const uint8_t *
preamble_noise(const struct preamble *p, size_t *len)
{
    *len = p->noise.len;
    return p->noise.data;
}

/* What was heard, for a message: escaped, its end rather than its beginning. */
static void
quote_noise(const struct preamble *p, char *out, size_t size)
{
    struct buf text = BUF_INIT;
    const uint8_t *at = p->noise.data;
    size_t len = p->noise.len;

    while (len > 0 && (at[len - 1] == '\n' || at[len - 1] == '\r')) {
        len--;
    }
    /* A shell that fails says so in its last line, after any greeting. */
    if (len > 160) {
        at += len - 160;
        len = 160;
    }
    text_escape(&text, at, len);
    (void)text_escape_to(out, size, buf_str(&text));
    buf_free(&text);
}

static int
refuse(const struct preamble *p, struct err *e)
{
    char quoted[256];

    quote_noise(p, quoted, sizeof quoted);
    if (p->noise_max == 0) {
        return err_set(e, ERR_CORRUPT, "the peer does not speak gpurun's protocol: '%s'",
                       quoted);
    }
    return err_set(e, ERR_CORRUPT,
                   "no agent after %zu bytes of other output (silence the shell's start "
                   "files there): '%s'",
                   p->n_noise, quoted);
}

static int
add_noise(struct preamble *p, const uint8_t *data, size_t n, struct err *e)
{
    buf_add(&p->noise, data, size_min(n, PREAMBLE_NOISE_KEPT - p->noise.len));
    p->n_noise += n;
    return p->n_noise > p->noise_max ? refuse(p, e) : 0;
}

/* Whether the n_seen bytes seen begin this magic; *whole if they are all of it. */
static bool
begins(const struct preamble *p, const char *magic, size_t magic_len, bool *whole)
{
    if (p->n_seen > magic_len || memcmp(p->seen, magic, p->n_seen) != 0) {
        return false;
    }
    *whole = p->n_seen == magic_len;
    return true;
}

static enum preamble_kind
match(const struct preamble *p, bool *possible)
{
    bool whole = false;

    *possible = true;
    if (!p->from_agent) {
        if (begins(p, client_magic, sizeof client_magic - 1, &whole)) {
            return whole ? PREAMBLE_IS_CLIENT : PREAMBLE_NONE;
        }
    } else if (begins(p, ready_magic, sizeof ready_magic - 1, &whole)) {
        return whole ? PREAMBLE_IS_READY : PREAMBLE_NONE;
    } else if (p->noise_max > 0 &&
               begins(p, missing_magic, sizeof missing_magic - 1, &whole)) {
        return whole ? PREAMBLE_IS_MISSING : PREAMBLE_NONE;
    }
    *possible = false;
    return PREAMBLE_NONE;
}

/* One byte that may belong to a magic. */
static int
step(struct preamble *p, uint8_t byte, struct err *e)
{
    bool possible;
    enum preamble_kind kind;

    p->seen[p->n_seen++] = byte;
    kind = match(p, &possible);
    if (kind == PREAMBLE_IS_MISSING) {
        p->in_facts = true;
        p->facts = rec_new("gpurun.bootstrap.v1");
    } else if (kind != PREAMBLE_NONE) {
        p->kind = kind;
    } else if (!possible) {
        size_t n = p->n_seen;

        /* A '~' is only ever first, so only the byte that broke the match can begin anew.
         */
        p->n_seen = 0;
        if (byte == '~') {
            p->seen[0] = byte;
            p->n_seen = 1;
            n--;
        }
        return add_noise(p, p->seen, n, e);
    }
    return 0;
}

static bool
key_is_valid(const uint8_t *key, size_t len)
{
    if (len == 0 || len > FACT_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!((key[i] >= 'a' && key[i] <= 'z') || (key[i] >= '0' && key[i] <= '9') ||
              key[i] == '_')) {
            return false;
        }
    }
    return true;
}

static int
take_fact(struct preamble *p, struct err *e)
{
    uint8_t *line = p->line.data;
    size_t len = p->line.len;
    uint8_t *eq = len == 0 ? NULL : memchr(line, '=', len);

    if (len == 3 && memcmp(line, "end", 3) == 0) {
        p->kind = PREAMBLE_IS_MISSING;
        return 0;
    }
    if (eq == NULL || !key_is_valid(line, (size_t)(eq - line)) ||
        rec_n_fields(p->facts) >= PREAMBLE_FACTS_MAX) {
        return err_set(e, ERR_CORRUPT,
                       "the host's answer about a missing agent makes no "
                       "sense");
    }
    *eq = '\0';
    rec_add_bytes(p->facts, (const char *)line, eq + 1, (size_t)(line + len - (eq + 1)));
    return 0;
}

static int
facts_step(struct preamble *p, uint8_t byte, struct err *e)
{
    int rc;

    if (++p->facts_read > PREAMBLE_FACTS_BYTES) {
        return err_set(e, ERR_CORRUPT,
                       "the host's answer about a missing agent is longer "
                       "than %zu bytes",
                       PREAMBLE_FACTS_BYTES);
    }
    if (byte != '\n') {
        buf_add_u8(&p->line, byte);
        return 0;
    }
    rc = take_fact(p, e);
    buf_reset(&p->line);
    return rc;
}

/* Noise up to the next possible start of a magic, in one go. */
static int
skip_noise(struct preamble *p, const uint8_t *data, size_t n, size_t *skipped,
           struct err *e)
{
    const uint8_t *tilde = memchr(data, '~', n);

    *skipped = tilde == NULL ? n : (size_t)(tilde - data);
    return *skipped == 0 ? 0 : add_noise(p, data, *skipped, e);
}

int
preamble_feed(struct preamble *p, const uint8_t *data, size_t n, size_t *used,
              enum preamble_kind *kind, struct err *e)
{
    size_t at = 0;

    while (at < n && p->kind == PREAMBLE_NONE) {
        size_t skipped = 0;

        if (p->in_facts) {
            if (facts_step(p, data[at++], e) == -1) {
                return -1;
            }
            continue;
        }
        if (p->n_seen == 0 && skip_noise(p, data + at, n - at, &skipped, e) == -1) {
            return -1;
        }
        at += skipped;
        if (at < n && step(p, data[at++], e) == -1) {
            return -1;
        }
    }
    *used = at;
    *kind = p->kind;
    return 0;
}

int
preamble_explain_end(const struct preamble *p, struct err *e)
{
    char quoted[256];

    if (p->n_noise == 0) {
        return err_set(e, ERR_LINK, "the connection ended before a word was said");
    }
    quote_noise(p, quoted, sizeof quoted);
    return err_set(e, ERR_LINK, "the agent did not start; the host said: '%s'", quoted);
}
