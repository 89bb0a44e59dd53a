/*
 * We write pax and nothing else, but libarchive.a's object for that drags in the table
 * of all formats, and with it libxml2, ICU and nettle: 40 MB for formats nobody can ask
 * us for. In the static client these stand in for the real ones.
 */
#include <archive.h>
#include <errno.h>

static int
not_here(struct archive *a)
{
    archive_set_error(a, ENOSYS, "this format is not in the static gpurun");
    return ARCHIVE_FATAL;
}

#define NOT_HERE(format)                                                                 \
    int archive_write_set_format_##format(struct archive *a)                             \
    {                                                                                    \
        return not_here(a);                                                              \
    }

NOT_HERE(7zip)
NOT_HERE(iso9660)
NOT_HERE(mtree)
NOT_HERE(mtree_classic)
NOT_HERE(xar)
NOT_HERE(zip)
