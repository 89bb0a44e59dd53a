#ifndef RUNNER_CLIENT_I18N_H
#define RUNNER_CLIENT_I18N_H

#include <libintl.h>

#include "base/err.h"

/*
 * Words for the user. _() around every string that a person reads; N_() (base/err.h)
 * marks one in a static table, which is translated where it is printed. main sets the
 * locale and binds the domain; without that all of this is the identity.
 */
#define _(s) gettext(s)
/* How main marks a LANGUAGE that is ours alone: what we start does not inherit it. */
#define I18N_LANGUAGE_MARK ":gpurun"
#define NP_(one, many, n)  ngettext((one), (many), (unsigned long)(n))

#endif
