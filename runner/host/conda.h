#ifndef RUNNER_HOST_CONDA_H
#define RUNNER_HOST_CONDA_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/job/spec.h"

/*
 * Where a host's conda environments are, found as conda, mamba and micromamba find them,
 * but without asking them: that takes a second, and the login environment need not have
 * them in its PATH.
 *
 * Roots: what CONDA_EXE and MAMBA_ROOT_PREFIX say, a program in the PATH, the usual
 * places below $HOME and /opt. Environments: in CONDA_ENVS_PATH (CONDA_ENVS_DIRS), in
 * envs_dirs of the .condarc files, in ROOT/envs and ~/.conda/envs, and those that conda
 * has listed in ~/.conda/environments.txt, in this order. A directory counts that has an
 * executable bin/python.
 */

/*
 * The prefix of the environment called name ("base": a root), malloc'ed. env is the
 * job's. ERR_NOT_FOUND names those that there are.
 */
char *conda_find(const struct strings *env, const char *name, struct err *e) MUST_USE;
/*
 * The program that makes environments: conda, else mamba or micromamba, as CONDA_EXE and
 * MAMBA_EXE name them, in the PATH, in a root; malloc'ed, or NULL.
 */
char *conda_program(const struct strings *env);

#endif
