#include "runner/cli/shipline.h"

#include <inttypes.h>

#include "base/lang.h"

static void
reading(const struct ship_scanned *sc, int64_t elapsed_ns, struct buf *out)
{
    buf_add_str(out, _("reading: "));
    progress_amount(out, sc->bytes, 0, elapsed_ns);
    if (sc->n_before > 0 && sc->n_entries <= sc->n_before) {
        buf_add_str(out, _("; entries: "));
        progress_count(out, sc->n_entries, sc->n_before, elapsed_ns);
    } else {
        buf_printf(out, _("; %" PRIu64 " entries"), sc->n_entries);
    }
}

void
shipline(struct ship *s, const struct progress *p, const char *sending, struct buf *out)
{
    int64_t elapsed_ns = progress_elapsed_ns(p);
    const struct build_report *built = NULL;
    struct ship_scanned sc;
    struct sync_stats st;
    struct err e;

    if (ship_built(s, &built, &e) != 0) {
        return;
    }
    if (built == NULL) {
        ship_scanned(s, &sc);
        reading(&sc, elapsed_ns, out);
        return;
    }
    ship_stats(s, &st);
    buf_add_str(out, sending);
    progress_amount(out, st.sent_bytes, st.wanted_bytes, elapsed_ns);
}
