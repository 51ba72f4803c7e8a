"""CPU threads: the pieces of one operation, several at a time.

A large operation is cut into pieces that fit a core's cache: some rows of an image, some images, some channels. NumPy
lets go of Python's interpreter lock inside its loops and products, so several threads compute at once, and all that is
done to a piece (gather, multiply, add a bias) is done while it is in the cache.

BLAS, which computes the matrix products, has threads of its own, and they would compete with these: even after a
product, for they go on looking out for work for many milliseconds. While pieces are computed BLAS is therefore held to
one thread, with threadpoolctl, and every large product is computed as a piece. Where threadpoolctl is not installed,
BLAS keeps its threads, and pieces are computed one after the other.

Between two calls of NumPy a thread needs the interpreter lock, and waiting for it takes longer than a short call. So
pieces should be so large that each call takes 50 microseconds and more; and `np.dot` is better than `np.matmul` for
results of few numbers, for which the latter does not let go of the lock.

Which piece is computed by which thread is chance. What is computed is not: results depend on the number of threads at
most, never on which of them was faster.
"""

from __future__ import annotations

import contextlib
import functools
import numbers
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

VARIABLE = "MINIDL_NUM_THREADS"

_chosen: int | None = None
_pool: ThreadPoolExecutor | None = None
_this_thread = threading.local()


def get_num_threads() -> int:
    """How many threads an operation on the CPU uses at most.

    What `set_num_threads` said; else the environment variable MINIDL_NUM_THREADS; else the processor's cores that this
    process may use.

    Raises: ValueError where the variable is not a positive integer.

    >>> minidl.set_num_threads(1)
    >>> minidl.get_num_threads()
    1
    """
    return _default() if _chosen is None else _chosen


def set_num_threads(n: int) -> None:
    """Use at most n threads for each operation on the CPU, from now on.

    For a fixed number of threads results are the same bit for bit; another number may add up in another order.

    Raises: ValueError for anything but a positive integer.

    >>> minidl.set_num_threads(2)
    >>> minidl.get_num_threads()
    2
    """
    global _chosen
    if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1:
        raise ValueError(f"set_num_threads: expected an integer of at least 1, got {n!r}")
    _chosen = int(n)
    _forget_pool()


def threads_of(xp: Any) -> int:
    """How many pieces of an array of this library are worth computing at a time: on a GPU one, which fills it."""
    return get_num_threads() if xp is np else 1


@functools.cache
def _default() -> int:
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"{VARIABLE}: expected an integer of at least 1, got {given!r}")
    return int(given)


def parallel(work: Callable[[Any], None], pieces: Sequence[Any], xp: Any = np) -> None:
    """Call work(piece) for every piece, several at a time. No two of them may write to the same memory.

    On a GPU (xp is its array library) one after the other: it computes each with all its threads.
    """
    if xp is not np:
        for piece in pieces:
            work(piece)
        return
    with _one_blas_thread() as held:
        helpers = min(len(pieces), get_num_threads()) - 1 if held else 0
        if helpers < 1 or getattr(_this_thread, "computes", False):  # the work is itself part of a piece
            for piece in pieces:
                work(piece)
        else:
            _share(work, pieces, helpers)


def _share(work: Callable[[Any], None], pieces: Sequence[Any], helpers: int) -> None:
    task = [(work, iter(pieces))]  # each thread that asks the iterator gets another piece
    floating_point_errors: dict[str, Any] = {**np.geterr(), "call": np.geterrcall()}  # a setting of each thread
    helping: list[int] = []  # the threads that are at it
    errors: list[BaseException] = []
    gate = threading.Condition()

    def help_out() -> None:
        with gate:
            if not task:
                return  # too late: all is done, or somebody failed
            helping.append(threading.get_ident())
            work, remaining = task[0]
        try:
            with np.errstate(**floating_point_errors):
                _compute(work, remaining)
        except BaseException as error:
            errors.append(error)
        del work, remaining
        with gate:
            helping.remove(threading.get_ident())
            gate.notify()

    _submit(help_out, helpers)
    try:
        _compute(*task[0])
    finally:
        with gate:
            task.clear()  # who comes now comes too late, and holds none of the arrays
            gate.wait_for(lambda: not helping)
    if errors:
        raise errors[0]


def _compute(work: Callable[[Any], None], remaining: Iterator[Any]) -> None:
    _this_thread.computes = True
    try:
        for piece in remaining:
            work(piece)
    finally:
        _this_thread.computes = False


def _submit(help_out: Callable[[], None], helpers: int) -> None:
    """Ask so many threads for help. Not all may come: a busy system starts no more, nor does Python when it ends."""
    with contextlib.suppress(RuntimeError):
        for _ in range(helpers):
            _executor().submit(help_out)


def _executor() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="minidl")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None  # its threads end when their work does


# ------------------------------------------------------------------------------------------------------------- BLAS

_lock = threading.Lock()
_holding = 0  # how many threads are inside `_one_blas_thread`
_before: list[tuple[Any, int]] = []  # the libraries that were held, and how many threads each had


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[bool]:
    """Hold BLAS to one thread; afterwards it has as many as before. Gives whether that was possible."""
    global _holding
    libraries = _blas_libraries()
    if libraries is None:
        yield False
        return
    with _lock:
        _holding += 1
        if _holding == 1:
            _hold(libraries)
    try:
        yield True
    finally:
        with _lock:
            _holding -= 1
            if _holding == 0:
                _let_go()


def _hold(libraries: list[Any]) -> None:
    for library in libraries:
        n = library.get_num_threads()
        if n != 1:
            _before.append((library, n))
            library.set_num_threads(1)


def _let_go() -> None:
    while _before:
        library, n = _before.pop()
        library.set_num_threads(n)


@functools.cache
def _blas_libraries() -> list[Any] | None:
    """The BLAS libraries of this process, as threadpoolctl controls them; None where it is not installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


# ------------------------------------------------------------------------------------------------------------- fork


def _in_a_child_process() -> None:
    """A child has none of its parent's threads: no pool, and nobody who would let go of BLAS or of the lock."""
    global _lock, _holding
    _forget_pool()
    _lock, _holding = threading.Lock(), 0
    _let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_child_process)
