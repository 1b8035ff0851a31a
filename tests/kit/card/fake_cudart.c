/* A CUDA runtime of a card of 100 GiB that refuses nothing but sizes of 13 bytes; and, by name, the driver's functions under it. */
#include <stdint.h>
#include <string.h>

static uint64_t next = 4096;
static const size_t size = 100ull << 30;

int cudaMalloc(void **pointer, size_t bytes)
{
    if (bytes == 13) return 2;
    *pointer = (void *)__atomic_fetch_add(&next, 512, __ATOMIC_RELAXED);
    return 0;
}

int cudaFree(void *pointer) { return pointer == (void *)1; }

int cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = size - 1024;
    *total = size;
    return 0;
}

int cudaGetDeviceProperties(char *card, int device)
{
    (void)device;
    memcpy(card + 288, &size, sizeof size);
    return 0;
}

static int create(uint64_t *handle, size_t bytes, const int *where, unsigned long long flags)
{
    (void)bytes, (void)where, (void)flags;
    *handle = __atomic_fetch_add(&next, 512, __ATOMIC_RELAXED);
    return 0;
}

static int release(uint64_t handle) { return handle == 1; }

int cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version, unsigned long long flags, int *found)
{
    (void)version, (void)flags;
    *found = 0;
    *function = !strcmp(symbol, "cuMemCreate") ? (void *)create
              : !strcmp(symbol, "cuMemRelease") ? (void *)release
              : !strcmp(symbol, "cuMemGetInfo") ? (void *)cudaMemGetInfo
              : NULL;
    return *function ? 0 : 1;
}

int cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags, int *found)
{
    return cudaGetDriverEntryPointByVersion(symbol, function, 12000, flags, found);
}
