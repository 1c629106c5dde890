/* os_pages.c: memory that no core shows and that is empty once given back.
 *
 * For what must stay readable while it is used and nowhere else, in amounts that one does not want
 * to wipe: the index with its key names, the ring of changes. Straight from the kernel and marked
 * MADV_DONTDUMP before anything is in it; munmap forgets it without a write from us. It is not
 * locked: swap is for the machine's owner to encrypt (the keys themselves are locked, in crypt).
 * An address that happens to fit the alignment is taken as it is, which keeps neighbours in one
 * map of the kernel's (there may be 65,530); only otherwise is more mapped and trimmed. */
#include "base/os_hook.h"

#include <assert.h>
#include <sys/mman.h>

enum { PAGES_SIZE = 4096 };

static void *pages_map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* More than wanted, with the ends cut off. */
static void *pages_map_trimmed(size_t size, size_t align)
{
    uint8_t *p = pages_map(size + align);
    if (!p)
        return NULL;
    size_t before = -(uintptr_t)p % align;
    if (before)
        os_pages_free(p, before);
    os_pages_free(p + before + size, align - before);
    return p + before;
}

void *os_pages_alloc(size_t size, size_t align)
{
    assert(size && size % PAGES_SIZE == 0 && align % PAGES_SIZE == 0);
    if (OS_HOOK_ASK(.kind = OS_ALLOC, .fd = -1, .len = size) < 0)
        return NULL;
    void *p = pages_map(size);
    if (p && align && (uintptr_t)p % align != 0) {
        os_pages_free(p, size);
        p = pages_map_trimmed(size, align);
    }
    if (!p)
        return NULL;
    if (madvise(p, size, MADV_DONTDUMP) != 0) { /* no map left to split off */
        os_pages_free(p, size);
        return NULL;
    }
    return p;
}

void os_pages_huge(void *p, size_t size, bool wanted)
{
    (void)madvise(p, size, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE); /* a kernel may lack them */
}

void os_pages_drop(void *p, size_t size)
{
    (void)madvise(p, size, MADV_DONTNEED);
}

void os_pages_free(void *p, size_t size)
{
    if (p && munmap(p, size) != 0)
        os_pages_drop(p, size); /* it would have made one map too many: lose the addresses only */
}
