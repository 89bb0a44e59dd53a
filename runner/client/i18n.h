#ifndef RUNNER_CLIENT_I18N_H
#define RUNNER_CLIENT_I18N_H

#include "base/lang.h" /* _() and NP_(), for all of the client */

#endif
