#ifndef STORAGE_LIBARCHIVE_H
#define STORAGE_LIBARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * libarchive, loaded by the first export or import: with it come fourteen libraries (ICU,
 * libxml2, the C++ runtime), and loading them took half of a command's start. What it
 * is called with and answers is as in its archive.h.
 */

#define LIBARCHIVE_CALLS(X)                                                              \
    X(error_string)                                                                      \
    X(set_error)                                                                         \
    X(read_new)                                                                          \
    X(read_support_filter_zstd)                                                          \
    X(read_support_filter_gzip)                                                          \
    X(read_support_filter_xz)                                                            \
    X(read_support_filter_bzip2)                                                         \
    X(read_support_format_raw)                                                           \
    X(read_open_fd)                                                                      \
    X(read_next_header)                                                                  \
    X(read_data)                                                                         \
    X(read_free)                                                                         \
    X(write_new)                                                                         \
    X(write_add_filter_zstd)                                                             \
    X(write_set_format_raw)                                                              \
    X(write_set_format_pax)                                                              \
    X(write_set_options)                                                                 \
    X(write_set_bytes_per_block)                                                         \
    X(write_set_bytes_in_last_block)                                                     \
    X(write_open)                                                                        \
    X(write_header)                                                                      \
    X(write_data)                                                                        \
    X(write_finish_entry)                                                                \
    X(write_close)                                                                       \
    X(write_free)                                                                        \
    X(entry_new)                                                                         \
    X(entry_free)                                                                        \
    X(entry_set_pathname)                                                                \
    X(entry_copy_pathname)                                                               \
    X(entry_copy_hardlink)                                                               \
    X(entry_copy_symlink)                                                                \
    X(entry_copy_uname)                                                                  \
    X(entry_copy_gname)                                                                  \
    X(entry_set_filetype)                                                                \
    X(entry_set_perm)                                                                    \
    X(entry_set_uid)                                                                     \
    X(entry_set_gid)                                                                     \
    X(entry_set_mtime)                                                                   \
    X(entry_set_size)                                                                    \
    X(entry_set_rdevmajor)                                                               \
    X(entry_set_rdevminor)                                                               \
    X(entry_acl_add_entry)                                                               \
    X(entry_xattr_add_entry)                                                             \
    X(entry_sparse_add_entry)

/* archive_NAME of the library is la->NAME. */
struct libarchive {
#define LIBARCHIVE_MEMBER(name) __typeof__(archive_##name) *(name);
    LIBARCHIVE_CALLS(LIBARCHIVE_MEMBER)
#undef LIBARCHIVE_MEMBER
};

/* NULL before libarchive_load; stays loaded. */
extern const struct libarchive *la;

/* Any number of times, from one thread at a time. ERR_NOT_FOUND: it is not installed. */
int libarchive_load(struct err *e) MUST_USE;

#endif
