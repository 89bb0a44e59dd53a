#ifndef RUNNER_CLIENT_I18N_H
#define RUNNER_CLIENT_I18N_H

#include "base/lang.h"

/* As _() (base/lang.h), of what is counted. */
#define NP_(one, many, n) ngettext((one), (many), (unsigned long)(n))

#endif
