// CUDA's runtime on the CPU: devices, memory, streams, events. Nothing is asynchronous: a stream has always finished.
#include <cuda_runtime_api.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#define API extern "C" __attribute__((visibility("default")))
using Status = cudaError_t;

static const size_t MEMORY = size_t(16) << 30;  // of all devices together
static thread_local int current_device = 0;

static const int DEVICES = 2;

// ---- waiting, which is counted: the host waits for a device in no other function

static std::atomic<long> waits{0};
API long cuda_on_cpu_waits() { return waits; }

static Status wait() {
    waits++;
    return cudaSuccess;
}
API Status cudaDeviceSynchronize() { return wait(); }
API Status cudaStreamSynchronize(cudaStream_t) { return wait(); }
API Status cudaEventSynchronize(cudaEvent_t) { return wait(); }

// ---- devices

API const char* cudaGetErrorName(Status status) {
    return status == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
API const char* cudaGetErrorString(Status) { return "from CUDA on the CPU"; }
API Status cudaGetLastError() { return cudaSuccess; }
API Status cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
API Status cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
API Status cudaGetDeviceCount(int* count) { return *count = DEVICES, cudaSuccess; }
API Status cudaGetDevice(int* device) { return *device = current_device, cudaSuccess; }
API Status cudaSetDevice(int device) {
    if (device < 0 || device >= DEVICES) return cudaErrorInvalidDevice;
    return current_device = device, cudaSuccess;
}

API Status cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    *properties = cudaDeviceProp{};
    std::strcpy(properties->name, "CUDA on the CPU");
    properties->totalGlobalMem = MEMORY;
    properties->sharedMemPerBlock = 48 << 10;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->multiProcessorCount = 132;
    properties->major = 9;
    return cudaSuccess;
}
API Status cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    switch (attribute) {
        case cudaDevAttrComputeCapabilityMajor:
            *value = 9;
            break;
        case cudaDevAttrComputeCapabilityMinor:
            *value = 0;
            break;
        case cudaDevAttrMultiProcessorCount:
            *value = 132;
            break;
        default:
            *value = 0;  // clock rates and other things that nothing depends on
    }
    return cudaSuccess;
}
API Status cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 0, cudaSuccess; }

// ---- memory

struct Block {
    size_t size;
    int device;
};
static std::mutex guard;  // of both:
static std::map<char*, Block> blocks;
static size_t allocated = 0;

API Status cudaMalloc(void** pointer, size_t size) {
    std::lock_guard<std::mutex> lock(guard);
    if (allocated + size > MEMORY) return cudaErrorMemoryAllocation;
    char* block = (char*)std::aligned_alloc(512, (size + 511) / 512 * 512);
    if (!block) return cudaErrorMemoryAllocation;
    std::memset(block, 0xff, size);  // NaN: nothing is zero by itself
    blocks[block] = {size, current_device};
    allocated += size;
    *pointer = block;
    return cudaSuccess;
}
API Status cudaFree(void* pointer) {
    std::lock_guard<std::mutex> lock(guard);
    auto found = blocks.find((char*)pointer);
    if (found == blocks.end()) return pointer ? cudaErrorInvalidValue : cudaSuccess;
    allocated -= found->second.size;
    blocks.erase(found);
    std::free(pointer);
    return cudaSuccess;
}
API Status cudaMemGetInfo(size_t* free, size_t* total) {
    return *total = MEMORY, *free = MEMORY - allocated, cudaSuccess;
}
API Status cudaHostAlloc(void** pointer, size_t size, unsigned) {
    return *pointer = std::malloc(size), *pointer ? cudaSuccess : cudaErrorMemoryAllocation;
}
API Status cudaFreeHost(void* pointer) { return std::free(pointer), cudaSuccess; }

static int device_of(const void* pointer) {  // -1: the host
    std::lock_guard<std::mutex> lock(guard);
    auto after = blocks.upper_bound((char*)pointer);
    if (after == blocks.begin()) return -1;
    auto [start, block] = *std::prev(after);
    return (char*)pointer < start + block.size ? block.device : -1;
}
API Status cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    *attributes = cudaPointerAttributes{};
    int device = device_of(pointer);
    attributes->type = device < 0 ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice;
    attributes->device = device < 0 ? 0 : device;
    attributes->devicePointer = attributes->hostPointer = const_cast<void*>(pointer);
    return cudaSuccess;
}

API Status cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind, cudaStream_t) {
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    bool known = kind != cudaMemcpyDefault;
    if (size && known && (to_device != (device_of(to) >= 0) || from_device != (device_of(from) >= 0))) {
        return cudaErrorInvalidMemcpyDirection;
    }
    return std::memmove(to, from, size), cudaSuccess;
}
API Status cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind kind) {
    wait();
    return cudaMemcpyAsync(to, from, size, kind, nullptr);
}
API Status cudaMemset(void* to, int value, size_t size) { return std::memset(to, value, size), cudaSuccess; }
API Status cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t size, cudaStream_t stream) {
    return cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, stream);
}
API Status cudaMemsetAsync(void* to, int value, size_t size, cudaStream_t) {
    return std::memset(to, value, size), cudaSuccess;
}

// ---- streams and events

API Status cudaStreamCreate(cudaStream_t* stream) { return *stream = (cudaStream_t) new char, cudaSuccess; }
API Status cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return cudaStreamCreate(stream); }
API Status cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) { return cudaStreamCreate(stream); }
API Status cudaStreamDestroy(cudaStream_t stream) { return delete (char*)stream, cudaSuccess; }
API Status cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
API Status cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
API Status cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
    return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}

using Clock = std::chrono::steady_clock;
static Clock::time_point& time_of(cudaEvent_t event) { return *(Clock::time_point*)event; }

API Status cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    return *event = (cudaEvent_t) new Clock::time_point(Clock::now()), cudaSuccess;
}
API Status cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
API Status cudaEventDestroy(cudaEvent_t event) { return delete (Clock::time_point*)event, cudaSuccess; }
API Status cudaEventRecord(cudaEvent_t event, cudaStream_t) { return time_of(event) = Clock::now(), cudaSuccess; }
API Status cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
API Status cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
    *milliseconds = std::chrono::duration<float, std::milli>(time_of(end) - time_of(start)).count();
    return cudaSuccess;
}
