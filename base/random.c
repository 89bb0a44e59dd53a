#include "base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void
random_bytes(void *out, size_t n)
{
    uint8_t *at = out;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got == -1 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            /* No kernel we support lacks it; guessable ids would be worse. */
            (void)fputs("getrandom failed\n", stderr);
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

void
random_id(const char *prefix, char *out)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    size_t len = strlen(prefix);
    uint8_t r[ID_RANDOM_LEN];

    random_bytes(r, sizeof r);
    memcpy(out, prefix, len);
    for (size_t i = 0; i < ID_RANDOM_LEN; i++) {
        out[len + i] = alphabet[r[i] & 31];
    }
    out[len + ID_RANDOM_LEN] = '\0';
}
