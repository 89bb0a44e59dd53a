#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/job/device.h"

/*
 * A device's name, taken apart:
 *
 *   NVIDIA GeForce RTX 4090 D      brand rtx     core 4090d
 *   NVIDIA A100-SXM4-80GB          form sxm4     core a100     80 GB
 *   Quadro RTX 6000                brand quadro, rtx   core 6000
 *
 * The core is what makes it another product. Brand and form words must be in the name
 * only if they were asked for.
 */
#define CORE_MAX   64
#define TOKENS_MAX 24
#define TOKEN_MAX  32

struct parts {
    char core[CORE_MAX];
    char brands[4][TOKEN_MAX];
    size_t n_brands;
    char forms[4][TOKEN_MAX];
    size_t n_forms;
    int64_t memory_gb; /* 0: not said */
};

static const char *const noise[] = {
    "nvidia",      "amd",        "intel",  "huawei",   "geforce", "tesla",
    "radeon",      "instinct",   "ascend", "graphics", "gpu",     "npu",
    "corporation", "generation", "card",   "tm",       "r",       NULL};
static const char *const brands[] = {"rtx", "gtx", "quadro", "arc", NULL};
static const char *const forms[] = {"sxm", "pcie", "hbm", "nvl", "oam", NULL};

static bool
is_one_of(const char *const *words, const char *token)
{
    for (; *words != NULL; words++) {
        if (strcmp(*words, token) == 0) {
            return true;
        }
    }
    return false;
}

/* "sxm", "sxm4", "hbm2e": a form word with digits behind. */
static bool
is_form(const char *token)
{
    for (size_t i = 0; forms[i] != NULL; i++) {
        size_t n = strlen(forms[i]);

        if (strncmp(token, forms[i], n) == 0 && strlen(token) <= n + 2 &&
            (token[n] == '\0' || isdigit((unsigned char)token[n]))) {
            return true;
        }
    }
    return false;
}

/* "80g", "80gb", "80gib" → 80; else 0. */
static int64_t
memory_of(const char *token)
{
    char *rest;
    long gb;

    if (!isdigit((unsigned char)token[0])) {
        return 0;
    }
    gb = strtol(token, &rest, 10);
    if (gb <= 0 || gb > 100000 ||
        (strcmp(rest, "g") != 0 && strcmp(rest, "gb") != 0 && strcmp(rest, "gib") != 0)) {
        return 0;
    }
    return gb;
}

static void
add_word(char words[4][TOKEN_MAX], size_t *n, const char *token)
{
    if (*n < 4) {
        (void)snprintf(words[(*n)++], TOKEN_MAX, "%s", token);
    }
}

static void
add_core(struct parts *p, const char *token)
{
    size_t used = strlen(p->core);

    (void)snprintf(p->core + used, sizeof p->core - used, "%s", token);
}

/* "rtx4090" → brand rtx and the rest. */
static const char *
strip_brand(struct parts *p, const char *token)
{
    for (size_t i = 0; brands[i] != NULL; i++) {
        size_t n = strlen(brands[i]);

        if (strncmp(token, brands[i], n) == 0 &&
            (isdigit((unsigned char)token[n]) ||
             (token[n] == 'a' && isdigit((unsigned char)token[n + 1])))) {
            add_word(p->brands, &p->n_brands, brands[i]);
            return token + n;
        }
    }
    return token;
}

static void
take_token(struct parts *p, const char *token, bool *slice)
{
    if (*slice) { /* "MIG 1g.10gb": sizes there are part of what it is */
        add_core(p, token);
    } else if (strcmp(token, "mig") == 0) {
        *slice = true;
        add_core(p, token);
    } else if (is_one_of(noise, token)) {
        return;
    } else if (is_one_of(brands, token)) {
        add_word(p->brands, &p->n_brands, token);
    } else if (is_form(token)) {
        add_word(p->forms, &p->n_forms, token);
    } else if (memory_of(token) != 0) {
        p->memory_gb = memory_of(token);
    } else {
        add_core(p, strip_brand(p, token));
    }
}

static void
take_apart(struct parts *p, const char *text)
{
    char token[TOKEN_MAX] = {0};
    size_t n = 0;
    size_t n_tokens = 0;
    bool slice = false;

    memset(p, 0, sizeof *p);
    for (const char *c = text;; c++) {
        if (isalnum((unsigned char)*c)) {
            if (n + 1 < sizeof token) {
                token[n++] = (char)tolower((unsigned char)*c);
            }
            continue;
        }
        if (n > 0 && n_tokens++ < TOKENS_MAX) {
            token[n] = '\0';
            take_token(p, token, &slice);
        }
        n = 0;
        if (*c == '\0') {
            return;
        }
    }
}

static bool
has_word(const char words[4][TOKEN_MAX], size_t n, const char *wanted, bool prefix)
{
    for (size_t i = 0; i < n; i++) {
        if (prefix ? strncmp(words[i], wanted, strlen(wanted)) == 0
                   : strcmp(words[i], wanted) == 0) {
            return true;
        }
    }
    return false;
}

/* What is sold as 24 GB reports 23.6 to 25.8·10⁹ bytes. */
static bool
memory_fits(int64_t wanted_gb, int64_t named_gb, int64_t memory_bytes)
{
    int64_t gib = ((int64_t)1 << 30);
    int64_t slack;

    if (named_gb != 0) {
        return named_gb == wanted_gb;
    }
    slack = wanted_gb * gib / 16;
    return memory_bytes >= wanted_gb * gib - (slack > gib ? slack : gib) &&
           memory_bytes <= wanted_gb * gib + slack;
}

static bool
parts_match(const struct parts *want, const struct parts *have, int64_t memory_bytes)
{
    if (want->core[0] == '\0' || strcmp(want->core, have->core) != 0) {
        return false;
    }
    for (size_t i = 0; i < want->n_brands; i++) {
        if (!has_word(have->brands, have->n_brands, want->brands[i], false)) {
            return false;
        }
    }
    for (size_t i = 0; i < want->n_forms; i++) {
        if (!has_word(have->forms, have->n_forms, want->forms[i], true)) {
            return false;
        }
    }
    return want->memory_gb == 0 ||
           memory_fits(want->memory_gb, have->memory_gb, memory_bytes);
}

bool
device_type_matches(const char *wanted, const char *name, const char *type,
                    int64_t memory_bytes)
{
    struct parts want;
    struct parts have;

    if (wanted[0] == '\0' || strcasecmp(wanted, "any") == 0) {
        return true;
    }
    if (type != NULL && strcasecmp(wanted, type) == 0) {
        return true;
    }
    take_apart(&want, wanted);
    take_apart(&have, name);
    return parts_match(&want, &have, memory_bytes);
}

bool
device_matches(const struct device *d, const char *device_class, const char *wanted)
{
    return strcmp(d->device_class, device_class) == 0 &&
           device_type_matches(wanted, d->name, d->type, d->memory_bytes);
}

void
device_type_of(const char *name, int64_t memory_bytes, char out[DEVICE_TEXT_MAX + 1])
{
    struct parts p;

    (void)memory_bytes; /* only what the maker prints on it tells variants apart */
    take_apart(&p, name);
    if (p.core[0] == '\0') {
        (void)snprintf(out, DEVICE_TEXT_MAX + 1, "%s",
                       p.n_brands > 0 ? p.brands[0] : "unknown");
    } else if (p.memory_gb != 0) {
        (void)snprintf(out, DEVICE_TEXT_MAX + 1, "%s-%lldg", p.core,
                       (long long)p.memory_gb);
    } else {
        (void)snprintf(out, DEVICE_TEXT_MAX + 1, "%s", p.core);
    }
}

/* The count after the last colon, where one is. */
static int
split_count(char *text, int64_t *count, struct err *e)
{
    char *colon = strrchr(text, ':');
    char *rest;
    long long n;

    *count = 1;
    if (colon == NULL) {
        return 0;
    }
    n = strtoll(colon + 1, &rest, 10);
    if (!isdigit((unsigned char)colon[1]) || *rest != '\0' || n < 1 ||
        n > SPEC_COUNT_MAX) {
        return err_set(e, ERR_INVALID, "'%s' is not a number of devices (1 to %d)",
                       colon + 1, SPEC_COUNT_MAX);
    }
    *colon = '\0';
    *count = n;
    return 0;
}

bool
device_type_usable(const char *text, size_t len)
{
    bool blank = true;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
        blank = blank && text[i] == ' ';
    }
    return !blank;
}

static int
want_fill(struct device_want *out, const char *device_class, const char *type,
          struct err *e)
{
    struct device_want w = {.count = 1};

    if (strlen(type) > DEVICE_TEXT_MAX || strlen(device_class) > DEVICE_TEXT_MAX) {
        return err_set(e, ERR_INVALID, "a device's type is longer than %d bytes",
                       DEVICE_TEXT_MAX);
    }
    (void)snprintf(w.device_class, sizeof w.device_class, "%s", device_class);
    (void)snprintf(w.type, sizeof w.type, "%s", type);
    if (split_count(w.type, &w.count, e) != 0) {
        return -1;
    }
    if (!device_type_usable(w.type, strlen(w.type)) ||
        !device_type_usable(w.device_class, strlen(w.device_class))) {
        return err_set(e, ERR_INVALID,
                       "a device is asked for as TYPE or TYPE:N, e.g. 4090 or h100:2");
    }
    *out = w;
    return 0;
}

int
device_want_parse_gpu(struct device_want *out, const char *text, struct err *e)
{
    return want_fill(out, "gpu", text, e);
}

int
device_want_parse(struct device_want *out, const char *text, struct err *e)
{
    const char *colon = strchr(text, ':');
    char device_class[DEVICE_TEXT_MAX + 1];

    if (colon == NULL || colon == text || (size_t)(colon - text) > DEVICE_TEXT_MAX) {
        return err_set(e, ERR_INVALID,
                       "--device takes CLASS:TYPE[:N], e.g. npu:910b or gpu:any:2");
    }
    memcpy(device_class, text, (size_t)(colon - text));
    device_class[colon - text] = '\0';
    return want_fill(out, device_class, colon + 1, e) == 0 ? 0 : err_wrap(e, "--device");
}
