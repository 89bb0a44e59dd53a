#ifndef RUNNER_HOST_ACTIVATE_H
#define RUNNER_HOST_ACTIVATE_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/job/spec.h"

/*
 * What `conda activate PREFIX` makes of an environment, without conda: the environment
 * that was active goes (its deactivate.d in reverse, its variables, its bin), then come
 * the variables of the new one (etc/conda/env_vars.d, then those of `conda env config
 * vars`, in conda-meta/state) and the scripts that its packages have in
 * etc/conda/activate.d: CUDA's, GDAL's, compilers'.
 *
 * The scripts are run, all in one shell, with the environment `login` and nothing of a
 * job's, for at most ACTIVATE_LIMIT_S. As with conda, what one returns is no matter.
 */
#define ACTIVATE_LIMIT_S 15

/*
 * *after is the environment then; empty on failure. ERR_LIMIT: no end in time.
 * ERR_INVALID: a script ended the shell; else as runout. Blocks; any thread.
 */
int activate_conda(const struct strings *login, const char *prefix, struct strings *after,
                   struct err *e) MUST_USE;

#endif
