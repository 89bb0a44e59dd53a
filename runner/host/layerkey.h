#ifndef RUNNER_HOST_LAYERKEY_H
#define RUNNER_HOST_LAYERKEY_H

#include <stdbool.h>

#include "base/hash.h"
#include "runner/job/spec.h"

/*
 * The key of a set-up's layer on this host: the client's, and what the host has that the
 * client cannot know: its architecture, and the interpreter or the conda environment that
 * the set-up will find. Another version of Python, or an environment made anew, is
 * another layer; so is another environment for the command.
 *
 * Nothing is run for it, since what is asked for may be a renter's own file: what tells
 * interpreters apart is where they lie, their size and their time, behind all links, and
 * for a shim of pyenv's the version that was chosen.
 */
struct layerkey_wants {
    const char *key;             /* the client's: 64 hex */
    const char *python, *conda;  /* as in the spec; at most one is not NULL */
    const char *venv;            /* of the host's user, what it lies over; or NULL */
    const struct strings *login; /* the environment of the host's user */
    const struct strings *own;   /* K=V: what --env sets that counts (job/setupenv.h) */
    bool confined;               /* `allow` let the renter in: own leads to no program */
};

void layerkey_make(const struct layerkey_wants *w, char out[SHA256_HEX_LEN + 1]);

#endif
