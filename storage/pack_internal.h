#ifndef STORAGE_PACK_INTERNAL_H
#define STORAGE_PACK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/pack.h"

/* The bytes of a pack, shared by what writes and what reads it. See DESIGN.md. */
#define PACK_MAGIC         "gprnpack"
#define PACK_TABLE_MAGIC   "gprntabl"
#define PACK_TRAILER_MAGIC "gprnpend"
#define PACK_VERSION       1
#define PACK_ENTRY_MAGIC   0x4b4e4843u /* "CHNK" */

void pack_header_encode(const struct pack_name *name, uint8_t out[PACK_HEADER_LEN]);
void pack_row_encode(const struct pack_entry *en, uint8_t out[PACK_ROW_LEN]);
/* False: impossible, or not wholly in front of table_offset. */
bool pack_row_decode(const uint8_t in[PACK_ROW_LEN], uint64_t table_offset,
                     struct pack_entry *out);

#endif
