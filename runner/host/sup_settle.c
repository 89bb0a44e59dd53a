#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/host/supervise_internal.h"

/*
 * A job may run for days beside many others, and its supervisor then sleeps on memory
 * that only starting a job needed. A second into the job that is given back: the heap's
 * free top, and our own code and constants, which the kernel maps again from its cache,
 * page by page, as they are used. Never done in the first second: short jobs are quick.
 */
#define SETTLE_NS ((int64_t)1000000000)

static int
forget_constants(struct dl_phdr_info *info, size_t size, void *ctx)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)ctx;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t from = (uintptr_t)(info->dlpi_addr + p->p_vaddr) & ~(page - 1);
        uintptr_t to =
            ((uintptr_t)(info->dlpi_addr + p->p_vaddr) + p->p_filesz) & ~(page - 1);

        /* Only what was never written: those pages are the file's still. */
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W) == 0 && to > from) {
            (void)madvise((void *)from, to - from, MADV_DONTNEED);
        }
    }
    return 1; /* the program itself is the first; libraries are shared with others */
}

static void
settle(void *ctx)
{
    (void)ctx;
    (void)malloc_trim(0);
    (void)dl_iterate_phdr(forget_constants, NULL);
}

void
sup_settle_start(struct sup *s)
{
    if (s->settle_timer == NULL) {
        s->settle_timer = timer_new(s->loop, settle, s);
    }
    timer_after(s->settle_timer, SETTLE_NS);
}
