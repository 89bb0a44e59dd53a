#ifndef TESTS_UNIT_STORAGE_GUARD_H
#define TESTS_UNIT_STORAGE_GUARD_H

/*
 * Memory with edges: every block of the heap is filled before it is given out, so that
 * nobody lives on what happens to be there, and ends in bytes that are looked at when it
 * is freed, so that nobody writes one element too far. For one .c file of a test program;
 * sanitizers do all this, and more, themselves.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GUARD_OFF
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||               \
    __has_feature(memory_sanitizer)
#define GUARD_OFF
#endif
#endif

#ifndef GUARD_OFF

#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

#define GUARD_MAGIC 0x67756172u
#define GUARD_EDGE  16
#define GUARD_FILL  0xa5
/* Of a block so much is filled: buffers of megabytes are mostly never touched. */
#define GUARD_FILL_MAX ((size_t)64 * 1024)

struct guard {
    size_t len;
    uint32_t magic;
    uint32_t before; /* bytes from the block of the C library to what was given out */
};
_Static_assert(sizeof(struct guard) == GUARD_EDGE, "what follows is aligned");

static inline void
guard_fail(const char *what)
{
    (void)!write(2, what, strlen(what));
    abort();
}

static inline struct guard *
guard_of(void *p)
{
    struct guard *g = (struct guard *)p - 1;
    const uint8_t *edge = (const uint8_t *)p + g->len;

    if (g->magic != GUARD_MAGIC) {
        guard_fail("guard: freed twice, never given out, or written before\n");
    }
    for (size_t i = 0; i < GUARD_EDGE; i++) {
        if (edge[i] != (GUARD_FILL ^ i)) {
            guard_fail("guard: written behind the end of a block\n");
        }
    }
    return g;
}

static inline void *
guard_give(void *block, size_t before, size_t n)
{
    uint8_t *p = (uint8_t *)block + before;
    struct guard *g = (struct guard *)(void *)p - 1;

    if (block == NULL) {
        return NULL;
    }
    *g = (struct guard){n, GUARD_MAGIC, (uint32_t)before};
    memset(p, GUARD_FILL, n < GUARD_FILL_MAX ? n : GUARD_FILL_MAX);
    for (size_t i = 0; i < GUARD_EDGE; i++) {
        p[n + i] = (uint8_t)(GUARD_FILL ^ i);
    }
    return p;
}

/* Not malloc itself: the compiler knows what malloc and memset are together. */
static __attribute__((noinline)) void *
guard_alloc(size_t n)
{
    if (n > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return guard_give(__libc_malloc(n + (size_t)2 * GUARD_EDGE), GUARD_EDGE, n);
}

void *
malloc(size_t n)
{
    return guard_alloc(n);
}

void
free(void *p)
{
    int was = errno;
    struct guard *g;

    if (p == NULL) {
        return;
    }
    g = guard_of(p);
    memset(p, (uint8_t)~GUARD_FILL, g->len < GUARD_FILL_MAX ? g->len : GUARD_FILL_MAX);
    g->magic = 0;
    __libc_free((uint8_t *)p - g->before);
    errno = was;
}

void *
calloc(size_t count, size_t size)
{
    size_t n;
    void *p;

    if (__builtin_mul_overflow(count, size, &n)) {
        errno = ENOMEM;
        return NULL;
    }
    p = guard_alloc(n);
    return p != NULL ? memset(p, 0, n) : NULL;
}

void *
realloc(void *p, size_t n)
{
    void *q = guard_alloc(n);

    if (p != NULL && q != NULL) {
        size_t len = guard_of(p)->len;

        memcpy(q, p, len < n ? len : n);
        free(p);
    }
    return q;
}

void *
reallocarray(void *p, size_t count, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(count, size, &n)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, n);
}

void *
memalign(size_t align, size_t n)
{
    align = align < GUARD_EDGE ? GUARD_EDGE : align;
    return guard_give(__libc_memalign(align, align + n + GUARD_EDGE), align, n);
}

void *
aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

int
posix_memalign(void **p, size_t align, size_t n)
{
    void *q = memalign(align, n);

    if (q == NULL) {
        return ENOMEM;
    }
    *p = q;
    return 0;
}

size_t
malloc_usable_size(void *p)
{
    return p != NULL ? guard_of(p)->len : 0;
}

#endif
#endif
