"""Kernels whose threads need one another: `cuda-on-cpu pytest tests/cuda_on_cpu/check_kernels.py`."""

import subprocess
import sys

import numpy as np
import pytest

from minidl.backend import gpu_module

pytestmark = pytest.mark.gpu


def launch(source, name, grid, block, *arguments, shared=0):
    gpu_module().RawKernel(source, name)(grid, block, arguments, shared_mem=shared)


def test_every_thread_of_every_block_has_its_place():
    source = r"""
    extern "C" __global__ void places(int* y) {
        int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
        int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
        y[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1 + thread;
    }"""
    y = gpu_module().zeros(2 * 3 * 4 * 5 * 2 * 3, np.int32)
    launch(source, "places", (2, 3, 4), (5, 2, 3), y)
    assert y.tolist() == list(range(1, 31)) * 24


@pytest.mark.parametrize("threads", [1, 7, 32, 33, 256, 1024])
def test_a_sum_in_shared_memory(threads):
    """At each barrier all threads have written; the array's size is known only at the launch."""
    source = r"""
    extern __shared__ double sums[];
    extern "C" __global__ void total(const double* x, double* y) {
        int t = threadIdx.x, n = blockDim.x;
        sums[t] = x[blockIdx.x * n + t];
        for (__syncthreads(); n > 1; n = (n + 1) / 2) {
            double other = t + (n + 1) / 2 < n ? sums[t + (n + 1) / 2] : 0;
            __syncthreads();
            if (t < n / 2) sums[t] += other;
            __syncthreads();
        }
        if (t == 0) y[blockIdx.x] = sums[0];
    }"""
    x = np.random.default_rng(0).standard_normal((3, threads))
    y = gpu_module().empty(3)
    launch(source, "total", (3,), (threads,), gpu_module().asarray(x), y, shared=8 * threads)
    np.testing.assert_allclose(y.get(), x.sum(axis=1), atol=1e-12)


def test_one_warp_exchanges_values_while_the_others_wait_for_the_block():
    """The barriers of a warp are not those of its block: here the first warp passes ten, and the others one."""
    source = r"""
    extern "C" __global__ void scan(const int* x, int* y) {
        __shared__ int offset;
        int t = threadIdx.x;
        if (t < 32) {
            int sum = x[t];
            for (int d = 1; d < 32; d *= 2) {
                int left = __shfl_up_sync(0xffffffff, sum, d);
                if (t >= d) sum += left;
            }
            y[t] = sum;
            if (t == 31) offset = sum;
        }
        __syncthreads();
        if (t >= 32) y[t] = offset + x[t];
    }"""
    x = np.arange(1, 97, dtype=np.int32)
    y = gpu_module().empty(96, np.int32)
    launch(source, "scan", (1,), (96,), gpu_module().asarray(x), y)
    assert y.tolist() == [*np.cumsum(x[:32]), *(528 + x[32:])]


def test_threads_that_leave_early_are_not_waited_for():
    source = r"""
    extern "C" __global__ void leave(int* y) {
        if (threadIdx.x >= 40) return;
        __shared__ int seen[40];
        seen[threadIdx.x] = threadIdx.x;
        __syncthreads();
        y[threadIdx.x] = seen[39 - threadIdx.x];
    }"""
    y = gpu_module().zeros(64, np.int32)
    launch(source, "leave", (1,), (64,), y)
    assert y.tolist() == [*range(39, -1, -1), *([0] * 24)]


def test_atomic_additions_lose_nothing():
    source = r"""
    extern "C" __global__ void count(float* y) { atomicAdd(&y[threadIdx.x % 3], 1.0f); }"""
    y = gpu_module().zeros(3, np.float32)
    launch(source, "count", (5,), (64,), y)
    assert y.tolist() == [5 * 22, 5 * 21, 5 * 21]


def test_instances_of_a_template():
    source = r"""
    // a comment: extern "C" __global__ void nothing(int x)
    template <class T> __global__ void twice(const T* x, T* y) { y[threadIdx.x] = x[threadIdx.x] * T(2); }"""
    module = gpu_module().RawModule(code=source, name_expressions=["twice<float>", "twice<int>"])
    for name, dtype in [("twice<float>", np.float32), ("twice<int>", np.int32)]:
        x, y = gpu_module().arange(4, dtype=dtype), gpu_module().empty(4, dtype)
        module.get_function(name)((1,), (4,), (x, y))
        assert y.tolist() == [0, 2, 4, 6]


def test_a_barrier_that_some_do_not_come_to_is_named():
    code = r"""
import cupy
source = 'extern "C" __global__ void part(int* y) { if (threadIdx.x % 32 < 16) __syncwarp(); else __syncthreads(); }'
cupy.RawKernel(source, "part")((1,), (64,), (cupy.zeros(1, "i"),))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode != 0
    assert "cuda_on_cpu: thread 0 waits at a barrier that others do not come to" in result.stderr
