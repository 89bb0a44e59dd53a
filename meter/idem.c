#include "meter/idem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/refuse.h"

struct slot {
    char *key; /* NULL: empty */
    char *body;
    size_t value;
};

struct idem {
    struct slot *slots; /* open addressing, linear probing, at most half full */
    size_t n_slots;     /* a power of two */
    size_t n_used;
};

#define SLOTS_AT_FIRST 64

struct idem *
idem_new(void)
{
    struct idem *t = xcalloc(1, sizeof *t);

    t->n_slots = SLOTS_AT_FIRST;
    t->slots = xcalloc(t->n_slots, sizeof *t->slots);
    return t;
}

void
idem_free(struct idem *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->n_slots; i++) {
        free(t->slots[i].key);
        free(t->slots[i].body);
    }
    free(t->slots);
    free(t);
}

/* FNV-1a: the keys are the client's own, a bad spread hurts only them. */
static uint64_t
hash_of(const char *s)
{
    uint64_t h = 0xcbf29ce484222325U;

    for (; *s != '\0'; s++) {
        h = (h ^ (uint8_t)*s) * 0x100000001b3U;
    }
    return h;
}

/* The slot that holds key, or the empty one where it belongs. */
static struct slot *
find(const struct idem *t, const char *key)
{
    size_t i = hash_of(key) & (t->n_slots - 1);

    while (t->slots[i].key != NULL && strcmp(t->slots[i].key, key) != 0) {
        i = (i + 1) & (t->n_slots - 1);
    }
    return &t->slots[i];
}

static void
grow(struct idem *t)
{
    struct idem bigger = {.n_slots = t->n_slots * 2, .n_used = t->n_used};

    bigger.slots = xcalloc(bigger.n_slots, sizeof *bigger.slots);
    for (size_t i = 0; i < t->n_slots; i++) {
        if (t->slots[i].key != NULL) {
            *find(&bigger, t->slots[i].key) = t->slots[i];
        }
    }
    free(t->slots);
    *t = bigger;
}

int
idem_use(struct idem *t, const char *key, const char *body, size_t value, size_t *first,
         struct err *e)
{
    struct slot *s = find(t, key);

    if (s->key == NULL) {
        *s = (struct slot){.key = xstrdup(key), .body = xstrdup(body), .value = value};
        *first = value;
        t->n_used++;
        if (t->n_used * 2 == t->n_slots) {
            grow(t);
        }
        return 0;
    }
    if (strcmp(s->body, body) != 0) {
        return refuse(e, REFUSE_KEY_MISMATCH, "the id was used for another request");
    }
    *first = s->value;
    return 0;
}
