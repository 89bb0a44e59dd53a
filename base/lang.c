#include "base/lang.h"

#include <langinfo.h>
#include <locale.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define DOMAIN     "gpurun"
#define PATH_BYTES 4096

/* What the user asked for, whether or not this machine has it. */
static const char *
wanted_locale(void)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0') {
            return value;
        }
    }
    return "C";
}

/*
 * A locale that is not installed, as in most containers and for the static programs in
 * any: C.UTF-8 is part of libc, and gettext takes the language by name. Nothing else of
 * ours depends on the locale.
 */
static void
use_missing_locale(void)
{
    const char *name = wanted_locale();
    const char *codeset = strchr(name, '.');
    const char *wanted = getenv("LANGUAGE"); /* empty is as good as none */
    char *language;

    if (codeset == NULL || (strncasecmp(codeset, ".utf-8", 6) != 0 &&
                            strncasecmp(codeset, ".utf8", 5) != 0)) {
        return;
    }
    if (setlocale(LC_ALL, "C.UTF-8") != NULL) {
        language = xasprintf("%.*s" LANG_MARK, (int)(codeset - name), name);
        (void)setenv("LANGUAGE", language, wanted != NULL && *wanted == '\0');
        free(language);
    }
}

/* ".../share/locale", seen from PREFIX/bin, PREFIX/lib/gpurun/agent/ARCH or where a
 * client put an agent; or NULL. */
static char *
find_dir(void)
{
    static const char *const ups[] = {"../share/locale", "../../../../share/locale",
                                      "share/locale"};
    char exe[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    char *slash;

    if (n <= 0) {
        return NULL;
    }
    exe[n] = '\0';
    slash = strrchr(exe, '/');
    if (slash == NULL) {
        return NULL;
    }
    *slash = '\0';
    for (size_t i = 0; i < sizeof ups / sizeof ups[0]; i++) {
        char *dir = path_join(exe, ups[i]);

        if (file_exists(dir)) {
            return dir;
        }
        free(dir);
    }
    return NULL;
}

bool
lang_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void
lang_start(const char *dir)
{
    char *found = dir == NULL ? find_dir() : NULL;

    dir = dir == NULL ? found : dir;
    if (setlocale(LC_ALL, "") == NULL) {
        use_missing_locale();
    }
    /* Numbers are for programs as much as for people. */
    (void)setlocale(LC_NUMERIC, "C");
    if (dir != NULL && lang_utf8()) {
        (void)bindtextdomain(DOMAIN, dir);
        (void)textdomain(DOMAIN);
    }
    free(found);
}

const char *
lang_in(const char *context, const char *word)
{
    char *key = xasprintf("%s\004%s", context, word);
    const char *found = err_words(key);

    word = found == key ? word : found;
    free(key);
    return word;
}

void
lang_english(void)
{
    (void)setlocale(LC_MESSAGES, "C");
}

char *
lang_pause(void)
{
    char *was = xstrdup(setlocale(LC_MESSAGES, NULL));

    lang_english();
    return was;
}

void
lang_resume(char *paused)
{
    (void)setlocale(LC_MESSAGES, paused);
    free(paused);
}

void
lang_disown(void)
{
    const char *language = getenv("LANGUAGE");
    const size_t mark_len = sizeof LANG_MARK - 1;
    size_t len = language == NULL ? 0 : strlen(language);

    if (len >= mark_len && strcmp(language + len - mark_len, LANG_MARK) == 0) {
        (void)unsetenv("LANGUAGE");
    }
}
