#ifndef RUNNER_CLIENT_INSTALL_H
#define RUNNER_CLIENT_INSTALL_H

#include "base/attr.h"
#include "base/err.h"

/*
 * Our own files, found relative to the running binary (/proc/self/exe, or as it was
 * started where there is no /proc), so that an installed tree works wherever it stands; a
 * build folder is laid out the same way (Makefile):
 *
 *   bin/gpurun
 *   lib/gpurun/agent/ARCH/{gpurun-agent,gpurun-gpuprobe}     ARCH as `uname -m` says
 *   share/{gpurun,locale}
 */

/*
 * The path of the program name (gpurun-agent, gpurun-gpuprobe) for arch, NULL for
 * this machine; malloc'ed. ERR_NOT_FOUND says where it was looked for.
 */
int install_find_program(const char *name, const char *arch, char **path,
                         struct err *e) MUST_USE;

/* ".../share/<sub>" where that exists, else NULL; malloc'ed. */
char *install_find_share(const char *sub);

#endif
