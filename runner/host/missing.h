#ifndef RUNNER_HOST_MISSING_H
#define RUNNER_HOST_MISSING_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Which Python module a job lacked, by the last words it wrote: those of a traceback,
 * coloured or not, or of `python -m`. They are the job's: taken is only what a module is
 * called by.
 */
#define MISSING_NAME_MAX 64

/*
 * text is changed: colours are taken out of it. false: no such words, or the module is
 * looked for inside of one that is no package, which no installing helps.
 */
bool missing_module(char *text, size_t len, char name[MISSING_NAME_MAX + 1]);

#endif
