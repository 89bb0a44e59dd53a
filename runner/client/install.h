#ifndef RUNNER_CLIENT_INSTALL_H
#define RUNNER_CLIENT_INSTALL_H

#include "base/attr.h"
#include "base/err.h"

/*
 * Our own files, found relative to the running binary (/proc/self/exe), so that an
 * installed tree works wherever it stands and a build folder works as it is:
 *
 *   build folder    gpurun, gpurun-agent, gpurun-gpuprobe side by side
 *   installed       PREFIX/bin/gpurun, PREFIX/libexec/gpurun/{gpurun-agent,…},
 *                   PREFIX/share/{gpurun,locale}
 *
 * The programs of another architecture (what `uname -m` says there) are called
 * "gpurun-agent.<arch>".
 */

/*
 * The path of the program name (gpurun-agent, gpurun-gpuprobe) for arch, NULL for
 * this machine; malloc'ed. ERR_NOT_FOUND says where it was looked for.
 */
int install_find_program(const char *name, const char *arch, char **path,
                         struct err *e) MUST_USE;

/* "PREFIX/share/<sub>" where that exists, else NULL; malloc'ed. */
char *install_find_share(const char *sub);

#endif
