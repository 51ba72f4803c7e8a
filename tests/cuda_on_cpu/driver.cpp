// CUDA's driver on the CPU: it loads what compiler.cpp made, and launches it.
#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include "launch.h"

#define API extern "C" __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500 };

API int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR", SUCCESS; }
API int cuGetErrorString(int, const char** text) { return *text = "from CUDA on the CPU", SUCCESS; }
API int cuCtxGetCurrent(void** context) { return *context = (void*)1, SUCCESS; }
API int cuCtxSetCurrent(void*) { return SUCCESS; }

// A shared library ends with its section headers, so that its first bytes tell its length.
static size_t length_of(const Elf64_Ehdr* image) {
    return image->e_shoff + size_t(image->e_shnum) * image->e_shentsize;
}

API int cuModuleLoadData(void** module, const void* image) {
    if (std::memcmp(image, ELFMAG, SELFMAG) != 0) return INVALID_IMAGE;
    char path[] = "/tmp/cuda_on_cpu_XXXXXX";  // a name of its own: dlopen takes one that it knows for loaded
    FILE* file = fdopen(mkstemp(path), "wb");
    std::fwrite(image, 1, length_of((const Elf64_Ehdr*)image), file);
    std::fclose(file);
    *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    unlink(path);
    if (!*module) std::fprintf(stderr, "cuda_on_cpu: %s\n", dlerror());
    return *module ? SUCCESS : INVALID_IMAGE;
}
API int cuModuleUnload(void*) { return SUCCESS; }  // a kernel's library stays

API int cuModuleGetFunction(void** function, void* module, const char* name) {
    *function = dlsym(module, (std::string("entry_") + name).c_str());
    if (!*function) std::fprintf(stderr, "cuda_on_cpu: no kernel %s was found in the text of its source\n", name);
    return *function ? SUCCESS : NOT_FOUND;
}

// CuPy asks how many threads a block may have.
API int cuFuncGetAttribute(int* value, int, void*) { return *value = MOST_THREADS, SUCCESS; }

static std::mutex device;  // threads of the host take turns
static char* stacks = (char*)std::aligned_alloc(16, STACKS);

API int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                       unsigned block_y, unsigned block_z, unsigned shared, void*, void** arguments, void**) {
    Launch launch{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, stacks, arguments};
    unsigned threads = block_x * block_y * block_z;
    if (grid_x * grid_y * grid_z == 0 || threads == 0 || threads > MOST_THREADS || shared > MOST_SHARED)
        return INVALID_VALUE;
    std::lock_guard<std::mutex> lock(device);
    ((Entry*)function)(launch);
    return SUCCESS;
}
