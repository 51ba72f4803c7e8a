// How driver.cpp starts a kernel that was compiled with kernel.h.
#pragma once

#include <vector_types.h>

#include <cstddef>

static const unsigned MOST_THREADS = 1024;  // of a block
static const size_t STACK = 1 << 16;        // bytes, for each
static const size_t STACKS = MOST_THREADS * STACK;

static const unsigned MOST_SHARED = 227 << 10;  // bytes of dynamic shared memory

struct Launch {
    dim3 grid, block;
    unsigned shared;   // bytes
    char* stacks;      // STACKS bytes
    void** arguments;  // pointers to what the kernel is called with
};

using Entry = void(const Launch&);
