/* A smaller card for one process: put before it by LD_PRELOAD, this library refuses video memory beyond a limit, as a full card does.
 *
 * CARD_LIMIT_GIB          the card's size; without it nothing is refused
 * CARD_LIMIT_CONTEXT_GIB  what of it the driver's context takes, 0.45 if unset; it cannot be counted here
 * CARD_LIMIT_LOG          file to which the process appends, when it exits, "pid peak_bytes refused"
 *
 * Counted are cudaMalloc of the runtime, and cuMemCreate of the driver, of which torch's growing segments are made. Whoever asks the
 * runtime for cuMemCreate, cuMemRelease or cuMemGetInfo by name, as torch does, is given the ones below. Not counted: managed memory,
 * which need not lie on the card, memory pools (cudaMallocAsync), and what libraries that carry a runtime of their own take.
 * Sizes and structures are those of CUDA 12 and 13. A process that never allocates is left as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUT_OF_MEMORY = 2, NOT_INITIALISED = 3, ON_THE_CARD = 1, BUCKETS = 4096 };
#define GIB 1073741824.0

/* What is allocated: the size by pointer of the runtime, and by handle of the driver, which may be the same numbers. */
struct block { uint64_t key; size_t bytes; struct block *next; };
static struct block *pointers[BUCKETS], *handles[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t used, peak, limit = SIZE_MAX, context;
static uint64_t refused;
static pid_t owner; /* a child made by fork inherits the counts; they are not its own */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static size_t gib(const char *name, size_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? (size_t)(atof(text) * GIB) : otherwise;
}

static void read_environment(void)
{
    limit = gib("CARD_LIMIT_GIB", SIZE_MAX);
    context = gib("CARD_LIMIT_CONTEXT_GIB", (size_t)(0.45 * GIB));
}

/* What tensors may take in all. */
static size_t room(void)
{
    pthread_once(&once, read_environment);
    if (limit == SIZE_MAX) return SIZE_MAX;
    return limit > context ? limit - context : 0;
}

/* Takes the bytes before they are allocated, so that two threads cannot both pass with the last of them; 0 if there is no room. */
static int take(size_t bytes)
{
    size_t all = room();
    pthread_mutex_lock(&lock);
    owner = getpid();
    int fits = used <= all && bytes <= all - used;
    if (fits) {
        used += bytes;
        if (used > peak) peak = used;
    } else {
        refused++;
    }
    pthread_mutex_unlock(&lock);
    return fits;
}

static void give_back(size_t bytes)
{
    pthread_mutex_lock(&lock);
    used -= bytes;
    pthread_mutex_unlock(&lock);
}

static struct block **place(struct block **table, uint64_t key)
{
    struct block **at = &table[(key * 0x9E3779B97F4A7C15ull) >> 52]; /* the upper 12 bits: one of 4096 */
    while (*at && (*at)->key != key) at = &(*at)->next;
    return at;
}

static void remember(struct block **table, uint64_t key, size_t bytes)
{
    struct block *fresh = malloc(sizeof *fresh);
    if (!fresh) abort(); /* a limit that lost count would prove nothing */
    pthread_mutex_lock(&lock);
    struct block **at = place(table, key);
    *fresh = (struct block){key, bytes, *at};
    *at = fresh;
    pthread_mutex_unlock(&lock);
}

/* The bytes behind a key, which is then no longer known: before they are freed, since another thread may get the same key right after. */
static size_t forget(struct block **table, uint64_t key)
{
    size_t bytes = 0;
    pthread_mutex_lock(&lock);
    struct block **at = place(table, key), *found = *at;
    if (found) {
        bytes = found->bytes;
        *at = found->next;
        free(found);
    }
    pthread_mutex_unlock(&lock);
    return bytes;
}

static void after_free(struct block **table, uint64_t key, size_t bytes, int failed)
{
    if (!bytes) return;
    if (failed) remember(table, key, bytes);
    else give_back(bytes);
}

/* A small card reports its size as its size, and as free what is left of the limit, or of the real card if that is less. */
static void as_small_card(size_t *free_bytes, size_t *total)
{
    size_t all = room();
    if (all == SIZE_MAX) return;
    pthread_mutex_lock(&lock);
    size_t left = all > used ? all - used : 0;
    pthread_mutex_unlock(&lock);
    if (free_bytes && left < *free_bytes) *free_bytes = left;
    if (total && limit < *total) *total = limit;
}

/* The real function. Python opens libraries where RTLD_NEXT does not look, so the runtime is named; it is in the process already. */
static void *real(const char *name)
{
    void *runtime = dlopen("libcudart.so.13", RTLD_NOLOAD | RTLD_LAZY);
    if (!runtime) runtime = dlopen("libcudart.so.12", RTLD_NOLOAD | RTLD_LAZY);
    return dlsym(runtime ? runtime : RTLD_NEXT, name);
}

/* `call`: the real function of this name, which has the type of the one here. */
#define REAL(name) \
    static __typeof__(&name) found; \
    __typeof__(&name) call = __atomic_load_n(&found, __ATOMIC_ACQUIRE); \
    if (!call) { \
        *(void **)&call = real(#name); \
        if (!call) return NOT_INITIALISED; \
        __atomic_store_n(&found, call, __ATOMIC_RELEASE); \
    }

/* The runtime's functions, found before the real ones by whoever is linked to them. */

int cudaMalloc(void **pointer, size_t bytes)
{
    REAL(cudaMalloc)
    if (!take(bytes)) return OUT_OF_MEMORY;
    int code = call(pointer, bytes);
    if (code) give_back(bytes);
    else remember(pointers, (uint64_t)*pointer, bytes);
    return code;
}

int cudaFree(void *pointer)
{
    REAL(cudaFree)
    size_t bytes = forget(pointers, (uint64_t)pointer);
    int code = call(pointer);
    after_free(pointers, (uint64_t)pointer, bytes, code);
    return code;
}

int cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    REAL(cudaMemGetInfo)
    int code = call(free_bytes, total);
    if (!code) as_small_card(free_bytes, total);
    return code;
}

/* The beginning of cudaDeviceProp, the same in CUDA 12 and 13. Shares of a card that torch is told are shares of this size. */
struct properties { char name[256], uuid[16], luid[8]; unsigned node_mask; size_t total; };

int cudaGetDeviceProperties(struct properties *card, int device)
{
    REAL(cudaGetDeviceProperties)
    int code = call(card, device);
    if (!code) as_small_card(NULL, &card->total);
    return code;
}

int cudaGetDeviceProperties_v2(struct properties *card, int device) /* its name in CUDA 12 */
{
    REAL(cudaGetDeviceProperties_v2)
    int code = call(card, device);
    if (!code) as_small_card(NULL, &card->total);
    return code;
}

/* The driver's functions, handed to whoever asks the runtime for them by name. */

struct placing { int type, handle_types, location_type, location; }; /* the beginning of CUmemAllocationProp */
static int (*driver_create)(uint64_t *, size_t, const struct placing *, unsigned long long);
static int (*driver_release)(uint64_t);
static int (*driver_info)(size_t *, size_t *);

static int create(uint64_t *handle, size_t bytes, const struct placing *where, unsigned long long flags)
{
    if (where && where->location_type != ON_THE_CARD) return driver_create(handle, bytes, where, flags);
    if (!take(bytes)) return OUT_OF_MEMORY;
    int code = driver_create(handle, bytes, where, flags);
    if (code) give_back(bytes);
    else remember(handles, *handle, bytes);
    return code;
}

static int release(uint64_t handle)
{
    size_t bytes = forget(handles, handle);
    int code = driver_release(handle);
    after_free(handles, handle, bytes, code);
    return code;
}

static int info(size_t *free_bytes, size_t *total)
{
    int code = driver_info(free_bytes, total);
    if (!code) as_small_card(free_bytes, total);
    return code;
}

static void stand_before(const char *symbol, void **function)
{
    if (!*function) return;
#define STAND(name, kept, own) \
    if (!strcmp(symbol, name) && *function != (void *)own) { /* a runtime may ask itself */ \
        *(void **)&kept = *function; \
        *function = (void *)own; \
    }
    STAND("cuMemCreate", driver_create, create)
    STAND("cuMemRelease", driver_release, release)
    STAND("cuMemGetInfo", driver_info, info)
#undef STAND
}

int cudaGetDriverEntryPointByVersion(
    const char *symbol, void **function, unsigned version, unsigned long long flags, int *found_as)
{
    REAL(cudaGetDriverEntryPointByVersion)
    int code = call(symbol, function, version, flags, found_as);
    if (!code) stand_before(symbol, function);
    return code;
}

int cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags, int *found_as)
{
    REAL(cudaGetDriverEntryPoint)
    int code = call(symbol, function, flags, found_as);
    if (!code) stand_before(symbol, function);
    return code;
}

__attribute__((destructor)) static void write_log(void)
{
    const char *path = getenv("CARD_LIMIT_LOG");
    if (!path || owner != getpid()) return;
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0) return;
    dprintf(file, "%d %zu %llu\n", (int)owner, peak, (unsigned long long)refused);
    close(file);
}
