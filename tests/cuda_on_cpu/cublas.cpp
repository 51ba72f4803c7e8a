// The matrix products of cuBLAS that CuPy calls, on the CPU: C = alpha · op(A) op(B) + beta · C, stored by columns.
#include <library_types.h>

#include <algorithm>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

enum { SUCCESS = 0, NOT_SUPPORTED = 15 };
using Half = _Float16;

struct Handle {
    void* stream;
    int pointer_mode, math_mode;
};
API int cublasCreate_v2(Handle** handle) { return *handle = new Handle{}, SUCCESS; }
API int cublasDestroy_v2(Handle* handle) { return delete handle, SUCCESS; }
API int cublasSetStream_v2(Handle* handle, void* stream) { return handle->stream = stream, SUCCESS; }
API int cublasGetPointerMode_v2(Handle* handle, int* mode) { return *mode = handle->pointer_mode, SUCCESS; }
API int cublasSetPointerMode_v2(Handle* handle, int mode) { return handle->pointer_mode = mode, SUCCESS; }
API int cublasGetMathMode(Handle* handle, int* mode) { return *mode = handle->math_mode, SUCCESS; }
API int cublasSetMathMode(Handle* handle, int mode) { return handle->math_mode = mode, SUCCESS; }

struct Sizes {
    int transpose_a, transpose_b, m, n, k;
};

// T is how A, B and C are stored, Sum how products are added up. A long sum is made of the sums of its pieces, as on a
// GPU, where many threads have one each: its rounding errors hardly grow with its length.
template <class T, class Sum>
static void product(Sizes s, Sum alpha, const T* A, long lda, const T* B, long ldb, Sum beta, T* C, long ldc) {
    const int piece = 256;
    std::vector<Sum> column(s.m), part(s.m);
    for (int j = 0; j < s.n; j++) {
        std::fill(column.begin(), column.end(), Sum(0));
        for (int start = 0; start < s.k; start += piece) {
            std::fill(part.begin(), part.end(), Sum(0));
            for (int p = start; p < std::min(start + piece, s.k); p++) {
                Sum b = s.transpose_b ? B[j + p * ldb] : B[p + j * ldb];
                if (s.transpose_a) {
                    for (int i = 0; i < s.m; i++) part[i] += Sum(A[p + i * lda]) * b;
                } else {
                    for (int i = 0; i < s.m; i++) part[i] += Sum(A[i + p * lda]) * b;
                }
            }
            for (int i = 0; i < s.m; i++) column[i] += part[i];
        }
        for (int i = 0; i < s.m; i++) {
            T& c = C[i + j * ldc];  // not read where beta is 0: it may be NaN
            c = T(alpha * column[i] + (beta == 0 ? Sum(0) : beta * Sum(c)));
        }
    }
}

static int product(Sizes s, int type, const void* alpha, const void* A, long lda, const void* B, long ldb,
                   const void* beta, void* C, long ldc) {
    switch (type) {
        case CUDA_R_16F:
            product<Half, float>(s, *(float*)alpha, (Half*)A, lda, (Half*)B, ldb, *(float*)beta, (Half*)C, ldc);
            return SUCCESS;
        case CUDA_R_32F:
            product<float, float>(s, *(float*)alpha, (float*)A, lda, (float*)B, ldb, *(float*)beta, (float*)C, ldc);
            return SUCCESS;
        case CUDA_R_64F:
            product<double, double>(s, *(double*)alpha, (double*)A, lda, (double*)B, ldb, *(double*)beta, (double*)C,
                                    ldc);
            return SUCCESS;
    }
    return NOT_SUPPORTED;
}

static size_t width(int type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

API int cublasGemmEx(Handle*, int ta, int tb, int m, int n, int k, const void* alpha, const void* A, int type, int lda,
                     const void* B, int type_b, int ldb, const void* beta, void* C, int type_c, int ldc, int, int) {
    if (type_b != type || type_c != type) return NOT_SUPPORTED;
    return product({ta, tb, m, n, k}, type, alpha, A, lda, B, ldb, beta, C, ldc);
}
API int cublasSgemmEx(Handle*, int ta, int tb, int m, int n, int k, const float* alpha, const void* A, int type,
                      int lda, const void* B, int type_b, int ldb, const float* beta, void* C, int type_c, int ldc) {
    if (type_b != type || type_c != type) return NOT_SUPPORTED;
    return product({ta, tb, m, n, k}, type, alpha, A, lda, B, ldb, beta, C, ldc);
}
API int cublasDgemm_v2(Handle*, int ta, int tb, int m, int n, int k, const double* alpha, const double* A, int lda,
                       const double* B, int ldb, const double* beta, double* C, int ldc) {
    return product({ta, tb, m, n, k}, CUDA_R_64F, alpha, A, lda, B, ldb, beta, C, ldc);
}

API int cublasGemmStridedBatchedEx(Handle*, int ta, int tb, int m, int n, int k, const void* alpha, const void* A,
                                   int type, int lda, long long next_a, const void* B, int type_b, int ldb,
                                   long long next_b, const void* beta, void* C, int type_c, int ldc, long long next_c,
                                   int count, int, int) {
    if (type_b != type || type_c != type) return NOT_SUPPORTED;
    for (int i = 0; i < count; i++) {
        auto at = [&](const void* start, long long next) { return (char*)start + i * next * width(type); };
        int status =
            product({ta, tb, m, n, k}, type, alpha, at(A, next_a), lda, at(B, next_b), ldb, beta, at(C, next_c), ldc);
        if (status != SUCCESS) return status;
    }
    return SUCCESS;
}
API int cublasSgemmBatched(Handle*, int ta, int tb, int m, int n, int k, const float* alpha, const float** A, int lda,
                           const float** B, int ldb, const float* beta, float** C, int ldc, int count) {
    for (int i = 0; i < count; i++)
        product({ta, tb, m, n, k}, CUDA_R_32F, alpha, A[i], lda, B[i], ldb, beta, C[i], ldc);
    return SUCCESS;
}
API int cublasDgemmBatched(Handle*, int ta, int tb, int m, int n, int k, const double* alpha, const double** A, int lda,
                           const double** B, int ldb, const double* beta, double** C, int ldc, int count) {
    for (int i = 0; i < count; i++)
        product({ta, tb, m, n, k}, CUDA_R_64F, alpha, A[i], lda, B[i], ldb, beta, C[i], ldc);
    return SUCCESS;
}
