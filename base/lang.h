#ifndef BASE_LANG_H
#define BASE_LANG_H

#include <libintl.h>
#include <stdbool.h>

#include "base/err.h"

/*
 * The language of a program's words: that of LC_MESSAGES, in UTF-8 locales only, since
 * all that is shown is UTF-8. _() around every string that a person reads; N_()
 * (base/err.h) marks one in a table, which is translated where it is printed. Where main
 * starts no language all of this is the identity.
 */
#define _(s) gettext(s)
/* The same of what is counted. */
#define NP_(one, many, n) ngettext((one), (many), (unsigned long)(n))
/* How a LANGUAGE that is ours alone is marked: what we start does not inherit it. */
#define LANG_MARK ":gpurun"

/* May what is shown be UTF-8, as ¥ and … are? */
bool lang_utf8(void);

/* A word that means several things: in this context. */
const char *lang_in(const char *context, const char *word);

/*
 * Before any thread is there. dir: share/locale, or NULL for the one that stands where
 * the running program does (bin/ or lib/gpurun/agent/ARCH/ beside share/, or share/ in
 * the folder of an agent that a client put there). A locale that is named but not
 * installed counts all the same.
 */
void lang_start(const char *dir);
/* Words for programs (JSON) are the same in every locale. */
void lang_english(void);
/*
 * What is kept or sent is English, whoever makes it: between the two every message is.
 * The pause's answer is given to the end of it. Not beside other threads that speak.
 */
char *lang_pause(void);
void lang_resume(char *paused);
/* Forget a LANGUAGE of lang_start's, which came from who started us. */
void lang_disown(void);

#endif
