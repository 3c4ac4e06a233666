/* A CUDA driver without a GPU, for cuda-python 12.6, which is a CUDA runtime over the driver's functions.

What is queued on a stream is done when somebody waits for it and not before. Device memory has addresses that the host
cannot read. Work that names memory, a stream or a graph that is not there is refused. Every call is a line of
$FAKE_CUDA_LOG, and the last line says what was not given back.

Environment: FAKE_CUDA_INIT: what cuInit answers. FAKE_CUDA_MEMORY: bytes of each device. FAKE_CUDA_DEVICES: how many. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INVALID = 1, NO_MEMORY = 2, BAD_CONTEXT = 201, BAD_HANDLE = 400, NOT_FOUND = 500, ILLEGAL = 700,
       CAPTURE_UNSUPPORTED = 900 };
enum { MEMORY, PINNED, STREAM, EVENT, GRAPH, EXEC, KINDS };
static const char *NAMES[KINDS] = {"memory", "pinned", "streams", "events", "graphs", "execs"};

typedef struct Work { void (*call)(void *); uintptr_t target, source; size_t size; struct Work *next; } Work;
typedef struct { int kind, device, capturing; uintptr_t address; char *bytes; size_t size; Work *work, *captured;
                 uintptr_t stream; } Thing;

static Thing things[4096];
static int count;
static uintptr_t next_address = 0x10000; /* never mapped in a process: a host that reads it crashes */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static volatile int held; /* work does not finish while this is set */
static __thread int current = -1;

static long setting(const char *name, long otherwise) { char *text = getenv(name); return text ? atol(text) : otherwise; }

static void say(const char *format, ...) {
    static FILE *log;
    if (!log) log = fopen(getenv("FAKE_CUDA_LOG"), "a");
    va_list values;
    va_start(values, format);
    vfprintf(log, format, values);
    va_end(values);
    fputc('\n', log);
    fflush(log);
}

static Thing *find(int kind, uintptr_t address) {
    for (int i = 0; i < count; i++)
        if (things[i].kind == kind && things[i].address == address) return &things[i];
    return NULL;
}

/* Where a range of device or pinned memory really is. */
static char *range(int kind, uintptr_t address, size_t size) {
    for (int i = 0; i < count; i++) {
        Thing *it = &things[i];
        if (it->kind == kind && it->address <= address && address + size <= it->address + it->size)
            return it->bytes + (address - it->address);
    }
    return NULL;
}

static Thing *make(int kind) {
    if (count == sizeof things / sizeof *things) abort();
    Thing *it = &things[count++];
    memset(it, 0, sizeof *it);
    it->kind = kind;
    it->device = current;
    it->address = next_address += 0x100;
    return it;
}

static void forget(Thing *it) { it->kind = -1; }

static void append(Work **list, Work work) {
    while (*list) list = &(*list)->next;
    *list = memcpy(malloc(sizeof work), &work, sizeof work);
    (*list)->next = NULL;
}

static int queue(uintptr_t stream, Work work) {
    Thing *it = find(STREAM, stream);
    if (!it) return BAD_HANDLE;
    append(it->capturing ? &it->captured : &it->work, work);
    return 0;
}

static int perform(Work work) {
    if (work.call) { work.call((void *)work.source); say("do host function"); return 0; }
    char *to = range(MEMORY, work.target, work.size), *from = range(PINNED, work.source, work.size);
    if (!to) { to = range(PINNED, work.target, work.size); from = range(MEMORY, work.source, work.size); }
    if (!to || !from) return ILLEGAL;
    memcpy(to, from, work.size);
    say("do copy %zu", work.size);
    return 0;
}

static int finish(Thing *stream) {
    for (int tries = 0; held; tries++) {
        if (tries == 5000) return 999; /* 5 s, and no other thread came */
        usleep(1000);
    }
    int error = 0;
    pthread_mutex_lock(&lock);
    while (stream->work && !error) {
        Work *first = stream->work;
        stream->work = first->next;
        error = perform(*first);
        free(first);
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int busy(void) {
    for (int i = 0; i < count; i++)
        if (things[i].kind == STREAM && things[i].work) return 1;
    return 0;
}

/* Starting, devices, contexts: a context is its device's number and 1. */
int cuInit(unsigned flags) { return setting("FAKE_CUDA_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetCount(int *devices) { *devices = setting("FAKE_CUDA_DEVICES", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Orin %d", device); return 0; }
int cuDeviceTotalMem(size_t *size, int device) { *size = setting("FAKE_CUDA_MEMORY", 1 << 20); return 0; }
int cuDeviceGetUuid(char *uuid, int device) { memset(uuid, device, 16); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : 0; /* compute capability 8.7 */
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(intptr_t)(device + 1); return 0; }
int cuCtxGetApiVersion(void *context, unsigned *version) { *version = 3020; return 0; }
int cuCtxGetCurrent(void **context) { *context = (void *)(intptr_t)(current + 1); return 0; }
int cuCtxSetCurrent(void *context) { current = (int)(intptr_t)context - 1; return 0; }

/* Memory. */
int cuMemGetInfo(size_t *available, size_t *total) {
    *available = *total = setting("FAKE_CUDA_MEMORY", 1 << 20);
    for (int i = 0; i < count; i++)
        if (things[i].kind == MEMORY && things[i].device == current) *available -= things[i].size;
    return 0;
}
int cuMemAlloc(uintptr_t *address, size_t size) {
    size_t available, total;
    cuMemGetInfo(&available, &total);
    if (size > available) { say("cuMemAlloc %zu refused", size); return NO_MEMORY; }
    Thing *it = make(MEMORY);
    it->size = size;
    it->bytes = malloc(size);
    memset(it->bytes, 0xCC, size);
    next_address += size;
    *address = it->address;
    say("cuMemAlloc %#lx on %d", it->address, current);
    return 0;
}
int cuMemFree(uintptr_t address) {
    Thing *it = find(MEMORY, address);
    if (!it || busy()) { say("cuMemFree %#lx: %s", address, it ? "work is under way" : "not there"); return INVALID; }
    free(it->bytes);
    forget(it);
    say("cuMemFree %#lx", address);
    return 0;
}
int cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    Thing *it = make(PINNED);
    it->size = size;
    it->bytes = *address = malloc(size);
    it->address = (uintptr_t)it->bytes;
    memset(it->bytes, 0xCC, size);
    say("cuMemHostAlloc %#lx", it->address);
    return 0;
}
int cuMemFreeHost(void *address) {
    Thing *it = find(PINNED, (uintptr_t)address);
    if (!it || busy()) { say("cuMemFreeHost: %s", it ? "work is under way" : "not there"); return INVALID; }
    say("cuMemFreeHost %#lx", it->address);
    forget(it); /* its bytes stay, for Python may hold a view of them */
    return 0;
}
int cuMemcpyHtoDAsync(uintptr_t target, const void *source, size_t size, uintptr_t stream) {
    say("cuMemcpyHtoDAsync %zu", size);
    if (!range(MEMORY, target, size) || !range(PINNED, (uintptr_t)source, size)) return INVALID;
    return queue(stream, (Work){NULL, target, (uintptr_t)source, size, NULL});
}
int cuMemcpyDtoHAsync(void *target, uintptr_t source, size_t size, uintptr_t stream) {
    say("cuMemcpyDtoHAsync %zu", size);
    if (!range(PINNED, (uintptr_t)target, size) || !range(MEMORY, source, size)) return INVALID;
    return queue(stream, (Work){NULL, (uintptr_t)target, source, size, NULL});
}

/* Streams, events, and a function in place of a network's kernels. */
int cuStreamCreate(uintptr_t *stream, unsigned flags) {
    Thing *it = make(STREAM);
    *stream = it->address;
    say("cuStreamCreate %u on %d", flags, current);
    return 0;
}
int cuStreamDestroy(uintptr_t stream) {
    Thing *it = find(STREAM, stream);
    if (!it || it->work) { say("cuStreamDestroy: %s", it ? "work is under way" : "not there"); return BAD_HANDLE; }
    forget(it);
    say("cuStreamDestroy");
    return 0;
}
int cuStreamSynchronize(uintptr_t stream) {
    Thing *it = find(STREAM, stream);
    if (!it) return BAD_HANDLE;
    if (it->capturing) return CAPTURE_UNSUPPORTED;
    say("cuStreamSynchronize");
    return finish(it);
}
int cuEventCreate(uintptr_t *event, unsigned flags) { *event = make(EVENT)->address; return 0; }
int cuEventDestroy(uintptr_t event) { forget(find(EVENT, event)); return 0; }
int cuEventRecord(uintptr_t event, uintptr_t stream) { find(EVENT, event)->stream = stream; return 0; }
int cuEventSynchronize(uintptr_t event) { return cuStreamSynchronize(find(EVENT, event)->stream); }
int cuLaunchHostFunc(uintptr_t stream, void (*call)(void *), void *data) {
    say("cuLaunchHostFunc");
    return queue(stream, (Work){call, 0, (uintptr_t)data, 0, NULL});
}

/* Graphs. */
int cuStreamBeginCapture(uintptr_t stream, int mode) {
    Thing *it = find(STREAM, stream);
    if (!it || it->capturing) return BAD_HANDLE;
    it->capturing = 1;
    it->captured = NULL;
    say("cuStreamBeginCapture %d", mode);
    return 0;
}
int cuStreamEndCapture(uintptr_t stream, uintptr_t *graph) {
    Thing *it = find(STREAM, stream);
    if (!it || !it->capturing) return BAD_HANDLE;
    it->capturing = 0;
    Thing *made = make(GRAPH);
    made->work = it->captured;
    *graph = made->address;
    say("cuStreamEndCapture");
    return 0;
}
int cuGraphInstantiateWithFlags(uintptr_t *exec, uintptr_t graph, unsigned long long flags) {
    Thing *it = find(GRAPH, graph);
    if (!it) return BAD_HANDLE;
    Thing *made = make(EXEC);
    made->work = it->work;
    *exec = made->address;
    say("cuGraphInstantiate");
    return 0;
}
int cuGraphDestroy(uintptr_t graph) {
    Thing *it = find(GRAPH, graph);
    if (it) forget(it);
    say("cuGraphDestroy");
    return it ? 0 : BAD_HANDLE;
}
int cuGraphLaunch(uintptr_t exec, uintptr_t stream) {
    Thing *it = find(EXEC, exec);
    if (!it) return BAD_HANDLE;
    say("cuGraphLaunch");
    int error = 0;
    for (Work *work = it->work; work && !error; work = work->next) error = queue(stream, *work);
    return error;
}
int cuGraphExecDestroy(uintptr_t exec) {
    Thing *it = find(EXEC, exec);
    if (it) forget(it);
    say("cuGraphExecDestroy");
    return it ? 0 : BAD_HANDLE;
}

/* For the test's network: device memory as the device sees it, and a device that does not finish for a while. */
void *fake_memory(uintptr_t address, size_t *size) {
    Thing *it = find(MEMORY, address);
    *size = it ? it->size : 0;
    return it ? it->bytes : NULL;
}
void fake_hold(int hold) { held = hold; }

int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    Dl_info self;
    dladdr((void *)cuInit, &self);
    if (!strcmp(name, "cuGetProcAddress")) name = "cuGetProcAddress_v2";
    *found = dlsym(dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD), name);
    if (status) *status = *found ? 0 : 1;
    return *found ? 0 : NOT_FOUND;
}

__attribute__((destructor)) static void left(void) {
    int of[KINDS] = {0};
    for (int i = 0; i < count; i++)
        if (things[i].kind >= 0) of[things[i].kind]++;
    char line[200] = "";
    for (int kind = 0; kind < KINDS; kind++) sprintf(line + strlen(line), " %s %d", NAMES[kind], of[kind]);
    say("left:%s", line);
}
