/*
 * A pack of any bytes: reading its table, searching its headers and taking over what
 * is good never read outside, and what they call good is what its hash says.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/codec.h"
#include "storage/packs.h"
#include "tests/fuzz/fuzz.h"

static void
check_entries(int fd, const struct pack_list *l, size_t size, struct codec *c)
{
    for (size_t i = 0; i < l->n && i < 64; i++) {
        const struct pack_entry *en = &l->v[i];
        const uint8_t *data;
        struct sha256 got;
        uint8_t *raw;
        bool scarred;
        struct err e;

        must(en->raw_len > 0 && en->raw_len <= STORE_CHUNK_MAX_BYTES);
        must(en->stored_len > 0 && en->stored_len <= en->raw_len);
        must((uint64_t)en->offset + PACK_ENTRY_LEN + en->stored_len <= size);
        if (packs_fetch(fd, en, c, &data, &scarred, &e) == -1) {
            continue;
        }
        raw = malloc(en->raw_len);
        must(raw != NULL);
        data = memcpy(malloc(en->stored_len), data, en->stored_len);
        must(codec_decode(c, (enum store_codec)en->codec, data, en->stored_len, raw,
                          en->raw_len, &e) == 0);
        sha256_of(raw, en->raw_len, &got);
        must(sha256_equal(&got, &en->id));
        free((void *)(uintptr_t)data);
        free(raw);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pack_name name;
    struct pack_list table = {0};
    struct pack_list scanned = {0};
    struct pack_list all = {0};
    struct codec *c = codec_new();
    int fd = memfd_create("pack", MFD_CLOEXEC);
    bool whole;
    struct err e;

    must(fd != -1 && fd_write_all(fd, data, size) == 0);
    if (pack_read_table(fd, &table, &e) == 0) {
        check_entries(fd, &table, size, c);
    }
    if (pack_scan(fd, &scanned, &whole, &e) == 0) {
        check_entries(fd, &scanned, size, c);
    }
    if (packs_entries(fd, &name, &all, &whole, &e) == 0) {
        must(all.n <= table.n + scanned.n);
        check_entries(fd, &all, size, c);
    }
    pack_list_free(&table);
    pack_list_free(&scanned);
    pack_list_free(&all);
    codec_free(c);
    (void)close(fd);
    return 0;
}
