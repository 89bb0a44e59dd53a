#ifndef STORAGE_CHUNKER_INTERNAL_H
#define STORAGE_CHUNKER_INTERNAL_H

#include <stdint.h>

extern const uint64_t chunker_gear[256];

#endif
