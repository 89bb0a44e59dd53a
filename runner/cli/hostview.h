#ifndef RUNNER_CLI_HOSTVIEW_H
#define RUNNER_CLI_HOSTVIEW_H

#include "base/buf.h"
#include "meter/offer.h"
#include "runner/cli/cli.h"
#include "runner/client/hosts.h"
#include "runner/client/transport.h"
#include "runner/job/hostinfo.h"

/* A host, as people and programs are shown it. offer and transport may be NULL. */

/* "2x 4090 (1 free), 32 cores"; malloc'ed, escaped. */
char *hostview_devices(const struct host_info *info);
/* "4090 ¥1.88/h, cpu ¥0.10/h", "free", "4090 ¥1.88/h (own estimate)"; malloc'ed. */
char *hostview_prices(const struct host *h, const struct offer *offer);

/* "key /home/ann/.ssh/id_ed25519": how the host let us in; malloc'ed; NULL: no word. */
char *hostview_login(const struct transport_info *t);

void hostview_page(struct buf *out, const struct host *h, const struct host_info *info,
                   const struct offer *offer, const struct transport_info *t);
/* One object. info NULL: it was not reached, why says why. */
void hostview_json(struct buf *out, const struct host *h, const struct host_info *info,
                   const struct offer *offer, const struct transport_info *t,
                   const struct failure *why);
/* A few remarks on a host just added. */
void hostview_say(const struct cli *c, const struct host *h, const struct host_info *info,
                  const struct offer *offer, const struct transport_info *t);

/* Put what it says of itself into its record. */
void hostview_remember(struct host *h, const struct host_info *info);

#endif
