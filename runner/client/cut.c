#include "runner/client/cut.h"

#include <string.h>

static const int signals[CUT_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t came; /* which one did; 0: none */

static void
on_signal(int signo)
{
    came = signo;
}

void
cut_begin(struct cut *c)
{
    struct sigaction sa = {.sa_handler = on_signal,
                           .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};

    memset(c, 0, sizeof *c);
    (void)sigemptyset(&sa.sa_mask);
    came = 0;
    for (size_t i = 0; i < CUT_SIGNALS; i++) {
        c->ours[i] = sigaction(signals[i], NULL, &c->old[i]) == 0 &&
                     c->old[i].sa_handler == SIG_DFL &&
                     sigaction(signals[i], &sa, NULL) == 0;
    }
}

bool
cut_came(void)
{
    return came != 0;
}

void
cut_end(struct cut *c)
{
    for (size_t i = 0; i < CUT_SIGNALS; i++) {
        if (c->ours[i]) {
            (void)sigaction(signals[i], &c->old[i], NULL);
        }
    }
    if (came != 0) {
        (void)raise(came);
    }
}
