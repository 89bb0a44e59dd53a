#include "runner/wire/msg.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static const char request_prefix[] = "gpurun.req.";

struct rec *
msg_error_new(const struct err *why, const char *hint)
{
    struct rec *r = rec_new(MSG_ERROR_TYPE);

    /* A receiver refuses an error that says nothing, so this never sends one. */
    rec_add(r, "code", err_code_name(why->code == ERR_NONE ? ERR_INVALID : why->code));
    rec_add(r, "msg", why->msg[0] == '\0' ? "no reason given" : why->msg);
    if (why->msg[0] != '\0' && why->form[0] != '\0') {
        rec_add(r, "form", why->form);
    }
    if (why->helps) {
        rec_add_int(r, "helps", 1);
    }
    if (hint != NULL && hint[0] != '\0') {
        rec_addf(r, "hint", "%.*s", MSG_HINT_MAX, hint);
    }
    return r;
}

int
msg_error_parse(const struct rec *r, struct err *why, char hint[MSG_HINT_MAX + 1],
                struct err *e)
{
    const char *code;
    const char *msg;
    const char *h;

    if (strcmp(rec_type(r), MSG_ERROR_TYPE) != 0 ||
        rec_need_str(r, "code", &code, e) == -1 ||
        rec_need_str(r, "msg", &msg, e) == -1) {
        return err_set(e, ERR_CORRUPT, "the peer sent a malformed error");
    }
    err_told(why, err_code_from_name(code), msg, rec_get(r, "form"));
    why->helps = rec_get(r, "helps") != NULL;
    h = rec_get(r, "hint");
    if (hint != NULL) {
        (void)snprintf(hint, MSG_HINT_MAX + 1, "%s", h == NULL ? "" : err_words(h));
    }
    return 0;
}

int
msg_verb(const struct rec *req, char verb[MSG_VERB_MAX + 1], int *version, struct err *e)
{
    const char *type = rec_type(req);
    size_t prefix = sizeof request_prefix - 1;
    const char *dot;
    size_t len;

    if (strncmp(type, request_prefix, prefix) != 0) {
        return err_set(e, ERR_INVALID, "'%.64s' is no request", type);
    }
    dot = strrchr(type + prefix, '.');
    len = dot == NULL ? 0 : (size_t)(dot - (type + prefix));
    if (len == 0 || len > MSG_VERB_MAX || dot[1] != 'v' || dot[2] < '1' || dot[2] > '9' ||
        dot[3] != '\0') {
        return err_set(e, ERR_INVALID, "'%.64s' is no request", type);
    }
    memcpy(verb, type + prefix, len);
    verb[len] = '\0';
    *version = dot[2] - '0';
    return 0;
}

static struct rec *
new_of(const char *kind, const char *verb)
{
    char type[MSG_VERB_MAX + 32];

    (void)snprintf(type, sizeof type, "gpurun.%s.%s.v1", kind, verb);
    return rec_new(type);
}

struct rec *
msg_request_new(const char *verb)
{
    return new_of("req", verb);
}

struct rec *
msg_answer_new(const char *verb)
{
    return new_of("ok", verb);
}

void
msg_add_key(struct rec *req, const uint8_t *key)
{
    uint8_t fresh[MSG_KEY_LEN];

    if (key == NULL) {
        random_bytes(fresh, sizeof fresh);
        key = fresh;
    }
    rec_add_hex(req, "key", key, MSG_KEY_LEN);
}

int
msg_need_key(const struct rec *req, uint8_t key[MSG_KEY_LEN], struct err *e)
{
    return rec_need_hex(req, "key", key, MSG_KEY_LEN, e);
}
