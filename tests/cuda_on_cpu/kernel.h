// What the source of a CUDA kernel expects of its compiler, for g++. Every kernel is compiled with this in front of it.
//
// The blocks of a launch run one after the other. A kernel without barriers is called once for each thread. One with
// barriers needs all threads of a block at once: each is a coroutine with a stack of its own, which at a barrier hands
// over to the next, and goes on when all whom the barrier is for, its block or its warp, have come there.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "launch.h"

#undef __device__
#undef __host__
#undef __global__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#define __device__
#define __host__
#define __global__
#define __shared__ static  // one block runs at a time
#define __constant__ static
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __CUDACC_VER_MAJOR__ 13  // CuPy's headers ask
#define __CUDACC_VER_MINOR__ 0

// ---- a thread's place

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const unsigned warpSize = 32;

static unsigned thread_number() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

static uint3 thread_place(unsigned i) {
    return {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
}

// ---- threads as coroutines

enum State { READY, AT_WARP_BARRIER, AT_BLOCK_BARRIER, DONE };

struct Coroutine {
    void* top;  // of its stack, while it does not run
    State state;
};

static char* stacks;
static Coroutine coroutines[MOST_THREADS];
static void* scheduler;  // the top of the stack that coroutines are started from
static unsigned running;
static void (*thread_body)(void**);
static void** thread_arguments;

// Push the registers that a call preserves, store the top of this stack in *from, go on with the other stack.
extern "C" void switch_stack(void** from, void* to);
asm(".text\n.local switch_stack\nswitch_stack:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

static bool together;  // whether the threads of a block run as coroutines

static void give_up(const char* reason, unsigned thread) {
    std::fprintf(stderr, "cuda_on_cpu: thread %u %s\n", thread, reason);
    std::abort();
}

static void hand_over(State state) {
    if (!together) give_up("has come to a barrier that the text of the kernel does not show", thread_number());
    coroutines[running].state = state;
    switch_stack(&coroutines[running].top, scheduler);
}

static void start_thread() {
    thread_body(thread_arguments);
    hand_over(DONE);
}

// Let the threads first ... last - 1 go on if all that are not done have come to their barrier.
static bool pass_barrier(State barrier, unsigned first, unsigned last) {
    unsigned waiting = 0, others = 0;
    for (unsigned i = first; i < last; i++) {
        waiting += coroutines[i].state == barrier;
        others += coroutines[i].state != barrier && coroutines[i].state != DONE;
    }
    if (waiting == 0 || others > 0) return false;
    for (unsigned i = first; i < last; i++) {
        if (coroutines[i].state == barrier) coroutines[i].state = READY;
    }
    return true;
}

static void run_together(unsigned threads) {
    for (unsigned i = 0; i < threads; i++) {
        void** top = (void**)(stacks + (i + 1) * STACK) - 1;  // as after a call
        *--top = (void*)start_thread;                         // where ret goes
        coroutines[i] = {top - 6, READY};                     // six registers
    }
    bool go_on = true;
    while (go_on) {
        for (running = 0; running < threads; running++) {
            if (coroutines[running].state != READY) continue;
            threadIdx = thread_place(running);
            switch_stack(&scheduler, coroutines[running].top);
        }
        go_on = pass_barrier(AT_BLOCK_BARRIER, 0, threads);
        for (unsigned i = 0; i < threads; i += warpSize) {
            go_on |= pass_barrier(AT_WARP_BARRIER, i, std::min(i + warpSize, threads));
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        if (coroutines[i].state != DONE) give_up("waits at a barrier that others do not come to", i);
    }
}

static inline void __syncthreads() { hand_over(AT_BLOCK_BARRIER); }
// All threads of the warp come together, whatever the mask.
static inline void __syncwarp(unsigned = ~0u) { hand_over(AT_WARP_BARRIER); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

// ---- launches

alignas(16) static char dynamic_shared_memory[MOST_SHARED];

static void run_one_after_another(unsigned threads) {
    for (unsigned i = 0; i < threads; i++) {
        threadIdx = thread_place(i);
        thread_body(thread_arguments);
    }
}

static void launch(void (*body)(void**), bool has_barriers, const Launch& launch) {
    gridDim = launch.grid, blockDim = launch.block;
    thread_body = body, thread_arguments = launch.arguments;
    stacks = launch.stacks;
    together = has_barriers;
    unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned i = 0; i < gridDim.x * gridDim.y * gridDim.z; i++) {
        std::memset(dynamic_shared_memory, 0xff, launch.shared);  // NaN, as new memory is
        blockIdx = {i % gridDim.x, i / gridDim.x % gridDim.y, i / (gridDim.x * gridDim.y)};
        has_barriers ? run_together(threads) : run_one_after_another(threads);
    }
}

// Call kernel(A...) with the values that an array of pointers points to, as cuLaunchKernel gets them.
template <class... A, size_t... I>
static void call_with(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}
template <class... A>
static void call(void (*kernel)(A...), void** arguments) {
    call_with(kernel, arguments, std::index_sequence_for<A...>{});
}

#define ENTRY(name, kernel, has_barriers)                               \
    extern "C" void name(const Launch& given) {                         \
        auto body = [](void** arguments) { call(&kernel, arguments); }; \
        launch(body, has_barriers, given);                              \
    }

// ---- between the threads of a warp

static uint64_t exchanged[MOST_THREADS];  // what each thread of the block shows

template <class T>
static T shown_by(unsigned thread, T value) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "at most 64 bits are exchanged");
    std::memcpy(&exchanged[thread_number()], &value, sizeof(T));
    __syncwarp();
    std::memcpy(&value, &exchanged[thread], sizeof(T));
    __syncwarp();
    return value;
}

template <class T>
static T __shfl_sync(unsigned, T value, int lane, int width = 32) {
    return shown_by(thread_number() / width * width + lane % width, value);
}
template <class T>
static T __shfl_up_sync(unsigned, T value, int delta, int width = 32) {
    int me = thread_number();
    return shown_by(me % width >= delta ? me - delta : me, value);
}
template <class T>
static T __shfl_down_sync(unsigned, T value, int delta, int width = 32) {
    int me = thread_number();
    return shown_by(me % width + delta < width ? me + delta : me, value);
}
template <class T>
static T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
    return shown_by(thread_number() ^ mask, value);
}

// ---- atomic operations: no other thread runs meanwhile

#define ATOMIC(name, T, next)                   \
    static inline T name(T* address, T value) { \
        T old = *address;                       \
        *address = next;                        \
        return old;                             \
    }
#define ATOMIC_OF_INTEGERS(name, next) \
    ATOMIC(name, int, next) ATOMIC(name, unsigned, next) ATOMIC(name, unsigned long long, next)
ATOMIC_OF_INTEGERS(atomicAdd, old + value)
ATOMIC(atomicAdd, float, old + value)
ATOMIC(atomicAdd, double, old + value)
ATOMIC_OF_INTEGERS(atomicSub, old - value)
ATOMIC_OF_INTEGERS(atomicExch, value)
ATOMIC_OF_INTEGERS(atomicMax, std::max(old, value))
ATOMIC_OF_INTEGERS(atomicMin, std::min(old, value))
ATOMIC_OF_INTEGERS(atomicAnd, old& value)
ATOMIC_OF_INTEGERS(atomicOr, old | value)
ATOMIC_OF_INTEGERS(atomicXor, old ^ value)
template <class T>
static T atomicCAS(T* address, T expected, T value) {
    T old = *address;
    if (old == expected) *address = value;
    return old;
}

// ---- intrinsics and mathematics

template <class To, class From>
static To same_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "");
    To y;
    std::memcpy(&y, &x, sizeof(To));
    return y;
}
static inline int __float_as_int(float x) { return same_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return same_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline double rsqrt(double x) { return 1 / std::sqrt(x); }
static inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
template <class T>
static T __ldg(const T* address) {
    return *address;
}

using std::isfinite, std::isinf, std::isnan, std::signbit;
static inline bool isnan(int) { return false; }
template <class A, class B>
static std::common_type_t<A, B> min(A a, B b) {
    return b < a ? b : a;
}
template <class A, class B>
static std::common_type_t<A, B> max(A a, B b) {
    return a < b ? b : a;
}

// What all of CuPy's kernels include; compiled once, with the lines above.
#include <cupy/math_constants.h>

#include <cupy/atomics.cuh>
#include <cupy/carray.cuh>
#include <cupy/complex.cuh>
