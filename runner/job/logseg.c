#include "runner/job/logseg.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

static const char *const stream_names[LOGSEG_STREAMS] = {
    [LOGSEG_OUT] = "out", [LOGSEG_ERR] = "err"};
#define START_DIGITS 20

void
logseg_name(enum logseg_stream s, uint64_t start, char out[LOGSEG_NAME_MAX])
{
    (void)snprintf(out, LOGSEG_NAME_MAX, "%s.%0*llu", stream_names[s], START_DIGITS,
                   (unsigned long long)start);
}

bool
logseg_name_parse(const char *name, enum logseg_stream *s, uint64_t *start)
{
    uint64_t v = 0;
    enum logseg_stream which = strncmp(name, "out.", 4) == 0   ? LOGSEG_OUT
                               : strncmp(name, "err.", 4) == 0 ? LOGSEG_ERR
                                                               : LOGSEG_NONE;

    if (which == LOGSEG_NONE || strlen(name) != 4 + START_DIGITS ||
        strspn(name + 4, "0123456789") != START_DIGITS) {
        return false;
    }
    for (const char *p = name + 4; *p != '\0'; p++) {
        if (v > LOGSEG_OFFSET_MAX / 10) {
            return false;
        }
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (v > LOGSEG_OFFSET_MAX) {
        return false;
    }
    *s = which;
    *start = v;
    return true;
}

void
logseg_entry_format(const struct logseg_entry *en, uint8_t to[LOGSEG_ENTRY_BYTES])
{
    memset(to, 0, LOGSEG_ENTRY_BYTES);
    to[0] = (uint8_t)en->stream;
    to[1] = (uint8_t)en->flags;
    put_u64(to + 8, en->end);
    put_u64(to + 16, (uint64_t)en->wall_ns);
}

bool
logseg_entry_parse(const uint8_t from[LOGSEG_ENTRY_BYTES], struct logseg_entry *out)
{
    static const uint8_t zeros[6];
    uint64_t end = get_u64(from + 8);

    if ((from[0] != LOGSEG_OUT && from[0] != LOGSEG_ERR) ||
        (from[1] & ~LOGSEG_F_GAP) != 0 || memcmp(from + 2, zeros, sizeof zeros) != 0 ||
        end > LOGSEG_OFFSET_MAX) {
        return false;
    }
    out->stream = (enum logseg_stream)from[0];
    out->flags = from[1];
    out->end = end;
    out->wall_ns = (int64_t)get_u64(from + 16);
    return true;
}
