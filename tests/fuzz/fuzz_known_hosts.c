/* Lines of known_hosts files, and keys: found, refused or skipped, never a crash. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "runner/client/known_hosts.h"
#include "tests/fuzz/fuzz.h"

static void
parse_key(const uint8_t *data, size_t size)
{
    struct ssh_pubkey k;
    struct err e;
    char fp[SSH_FINGERPRINT_MAX];

    if (ssh_pubkey_parse((const char *)data, size, &k, &e) != 0) {
        must(e.code == ERR_CORRUPT);
        return;
    }
    must(strlen(k.type) >= 4 && k.len >= 8);
    must(text_is_utf8(k.type, strlen(k.type)));
    ssh_pubkey_fingerprint(&k, fp);
    must(ssh_pubkey_is(&k, fp));
    must(ssh_fingerprint_check(fp, &e) == 0);
    ssh_pubkey_free(&k);
}

static void
look(const char *file, const char *name)
{
    const char *files[] = {file};
    struct known_hosts *k = NULL;
    struct err e;

    if (known_hosts_load(files, 1, name, "h", &k, &e) != 0) {
        must(e.code == ERR_CORRUPT || e.code == ERR_RANGE);
        return;
    }
    for (size_t i = 0; i < known_hosts_count(k); i++) {
        const struct known_hosts_key *key = known_hosts_at(k, i);
        enum known_host found = known_hosts_check(k, &key->key);

        must(key->line >= 1);
        must(found == KNOWN_HOST_OK || found == KNOWN_HOST_REVOKED);
        must(known_hosts_has_type(k, key->key.type));
    }
    known_hosts_free(k);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("known_hosts", MFD_CLOEXEC);
    char path[32];

    parse_key(data, size);
    if (fd == -1 || write(fd, data, size) != (ssize_t)size) {
        return 0;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    look(path, "h");
    look(path, "[h]:2222");
    (void)close(fd);
    return 0;
}
