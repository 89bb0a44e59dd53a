#include "storage/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "storage/codec.h"
#include "storage/pack_internal.h"

void
pack_list_add(struct pack_list *l, const struct pack_entry *en)
{
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = *en;
}

void
pack_list_free(struct pack_list *l)
{
    free(l->v);
    memset(l, 0, sizeof *l);
}

void
pack_file_name(const struct pack_name *name, char out[PACK_FILE_NAME_BYTES])
{
    hex_format(name->b, PACK_NAME_LEN, out);
    memcpy(out + 2 * (size_t)PACK_NAME_LEN, ".pack", 6);
}

bool
pack_file_parse(const char *file, struct pack_name *name)
{
    return strlen(file) == PACK_FILE_NAME_LEN &&
           strcmp(file + 2 * (size_t)PACK_NAME_LEN, ".pack") == 0 &&
           hex_parse(file, 2 * (size_t)PACK_NAME_LEN, name->b, PACK_NAME_LEN);
}

void
pack_header_encode(const struct pack_name *name, uint8_t out[PACK_HEADER_LEN])
{
    memset(out, 0, PACK_HEADER_LEN);
    memcpy(out, PACK_MAGIC, 8);
    put_u32(out + 8, PACK_VERSION);
    memcpy(out + 16, name->b, PACK_NAME_LEN);
    put_u32(out + 60, crc32c(0, out, 60));
}

void
pack_entry_encode(const struct pack_entry *en, uint32_t data_crc,
                  uint8_t out[PACK_ENTRY_LEN])
{
    memset(out, 0, PACK_ENTRY_LEN);
    put_u32(out, PACK_ENTRY_MAGIC);
    out[4] = en->codec;
    out[5] = en->kind;
    out[6] = en->second ? 1 : 0;
    put_u32(out + 8, en->raw_len);
    put_u32(out + 12, en->stored_len);
    memcpy(out + 16, en->id.b, SHA256_LEN);
    put_u32(out + 48, data_crc);
    put_u32(out + 60, crc32c(0, out, 60));
}

int
pack_entry_decode(const uint8_t in[PACK_ENTRY_LEN], struct pack_entry *out,
                  uint32_t *data_crc, struct err *e)
{
    struct pack_entry en = {0};

    if (get_u32(in) != PACK_ENTRY_MAGIC || get_u32(in + 60) != crc32c(0, in, 60)) {
        return err_set(e, ERR_CORRUPT, "a damaged entry header in a pack");
    }
    en.codec = in[4];
    en.kind = in[5];
    en.second = (in[6] & 1) != 0;
    en.raw_len = get_u32(in + 8);
    en.stored_len = get_u32(in + 12);
    memcpy(en.id.b, in + 16, SHA256_LEN);
    if (!codec_possible((enum store_codec)en.codec, en.raw_len, en.stored_len)) {
        return err_set(e, ERR_CORRUPT, "an impossible entry header in a pack");
    }
    *out = en;
    *data_crc = get_u32(in + 48);
    return 0;
}

void
pack_row_encode(const struct pack_entry *en, uint8_t out[PACK_ROW_LEN])
{
    memcpy(out, en->id.b, SHA256_LEN);
    put_u32(out + 32, en->offset);
    put_u32(out + 36, en->raw_len);
    put_u32(out + 40, en->stored_len);
    out[44] = en->codec;
    out[45] = en->kind;
    out[46] = en->second ? 1 : 0;
    out[47] = 0;
}

bool
pack_row_decode(const uint8_t in[PACK_ROW_LEN], uint64_t table_offset,
                struct pack_entry *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id.b, in, SHA256_LEN);
    out->offset = get_u32(in + 32);
    out->raw_len = get_u32(in + 36);
    out->stored_len = get_u32(in + 40);
    out->codec = in[44];
    out->kind = in[45];
    out->second = (in[46] & 1) != 0;
    return codec_possible((enum store_codec)out->codec, out->raw_len, out->stored_len) &&
           out->offset >= PACK_HEADER_LEN &&
           (uint64_t)out->offset + PACK_ENTRY_LEN + out->stored_len <= table_offset;
}

struct pack_sums
pack_sums(const struct pack_entry *entries, size_t n)
{
    struct pack_sums sums = {0};

    for (size_t i = 0; i < n; i++) {
        if (!entries[i].second) {
            sums.n++;
            sums.raw += entries[i].raw_len;
            sums.stored += entries[i].stored_len;
        }
    }
    return sums;
}
