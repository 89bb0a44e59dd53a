#ifndef RUNNER_HOST_PYTHON_H
#define RUNNER_HOST_PYTHON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/job/spec.h"

/*
 * The python3 that jobs find in an environment, and what of it they will want to know: is
 * there a torch, and does that see CUDA. All of it is what a program of the host's own
 * user printed, cut to size.
 */
#define PYTHON_TEXT_MAX 256
struct python {
    char version[PYTHON_TEXT_MAX];
    char at[PYTHON_TEXT_MAX];    /* sys.executable */
    char torch[PYTHON_TEXT_MAX]; /* its version; "": there is none, or torch_why */
    char cuda[PYTHON_TEXT_MAX];  /* the version torch uses here; "": not usable */
    struct err torch_why;        /* ERR_NONE; else what came of asking torch */
};

/*
 * Run the environment's python3, for at most PYTHON_LIMIT_S; then once more to import
 * torch, for at most PYTHON_TORCH_S, since a cold disk makes that long: whatever comes of
 * it, the interpreter is known. ERR_NOT_FOUND: there is none, or it does not start;
 * ERR_LIMIT: no answer; else as runout. Blocks; any thread.
 */
#define PYTHON_LIMIT_S 20
#define PYTHON_TORCH_S 45
int python_look(struct python *p, const struct strings *env, struct err *e) MUST_USE;

/*
 * python_look for who has connected. It is the owner's program, on the owner's time, that
 * nobody pays for: so one at a time on this host (others wait, then ERR_BUSY), and where
 * it is not asked afresh, what came of it in the last PYTHON_AGE_NS of this boot is told
 * again, failures too. It asks NVML whether CUDA is there, and begins nothing on a
 * device.
 */
#define PYTHON_AGE_NS  ((int64_t)600 * 1000000000)
#define PYTHON_WAIT_NS ((int64_t)70 * 1000000000)
int python_ask(struct python *p, const struct agent *a, const struct strings *env,
               bool fresh, struct err *e) MUST_USE;

#endif
