/* ssh_config files: understood, left to the binary, or refused with file and line. */
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "runner/client/ssh_config.h"
#include "runner/client/ssh_config_internal.h"
#include "tests/fuzz/fuzz.h"

/* Includes would have the fuzzer read this machine's files. */
static bool
includes(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 7 <= size; i++) {
        if ((data[i] | 0x20) == 'i' &&
            strncasecmp((const char *)data + i, "include", 7) == 0) {
            return true;
        }
    }
    return false;
}

static void
load(const char *path)
{
    const struct ssh_config_want want = {.host = "h.example", .user = "u"};
    struct ssh_config c;
    struct err e;

    if (ssh_config_load(&want, "/nonexistent", path, NULL, &c, &e) != 0) {
        must(e.code == ERR_INVALID || e.code == ERR_RANGE);
        must(e.msg[0] != '\0');
        return;
    }
    must(c.host_name[0] != '-' && c.host_name[0] != '\0');
    must(c.user[0] != '-' && c.user[0] != '\0');
    must(c.port >= 1 && c.port <= 65535);
    must(c.n_identity <= SSH_CONFIG_LIST_MAX);
    ssh_config_free(&c);
}

static void
words(const uint8_t *data, size_t size)
{
    struct ssh_words w;
    struct err e;

    if (ssh_words_split((const char *)data, size, &w, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < w.n; i++) {
        struct ssh_words again;
        struct buf b = BUF_INIT;

        buf_add_str(&b, "Key ");
        ssh_word_quote(&b, w.v[i]);
        must(ssh_words_split(buf_str(&b), b.len, &again, &e) == 0);
        must(again.n == 2 && strcmp(again.v[1], w.v[i]) == 0);
        ssh_words_free(&again);
        buf_free(&b);
    }
    ssh_words_free(&w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ssh_config_copy copy;
    char path[32];
    struct err e;
    int fd;

    words(data, size);
    if (includes(data, size)) {
        return 0;
    }
    fd = memfd_create("ssh_config", MFD_CLOEXEC);
    if (fd == -1 || fchmod(fd, 0600) == -1 || write(fd, data, size) != (ssize_t)size) {
        return 0;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    load(path);
    if (ssh_config_copy_make("A b\n", "/nonexistent", path, NULL, "C d\n", &copy, &e) ==
        0) {
        must(copy.n == 2);
        ssh_config_copy_free(&copy);
    }
    (void)close(fd);
    return 0;
}
