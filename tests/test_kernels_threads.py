"""Pieces of one operation by several threads: each once, exceptions and settings passed on, BLAS held and let go."""

import os
import subprocess
import sys
import threading
import time
import types
import weakref

import fakecupy
import numpy as np
import pytest

import minidl
from minidl.kernels import threads
from minidl.kernels.threads import parallel, threads_of


def both(n=2):
    """What makes the pieces that call its wait() one thread's each: it lets nobody through before n have come."""
    return threading.Barrier(n, timeout=10)


def in_time(work):
    """work(), which may hang: then this fails."""
    done = []
    thread = threading.Thread(target=lambda: done.append(work()), daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert done, "it hangs, or has failed"
    return done[0]


def squares(n):
    """0, 1, 4, 9, ... computed in parallel."""
    results = [None] * n

    def work(i):
        results[i] = i * i

    parallel(work, range(n))
    return results


# ------------------------------------------------------------------------------------------------------------- sharing


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 200])
def test_every_piece_is_computed_once(count, n, use_threads):
    use_threads(n)
    for pieces in (range(count), list(range(count)), tuple(range(count))):
        seen = []
        parallel(seen.append, pieces)
        assert sorted(seen) == list(range(count))


@pytest.mark.parametrize("n", [2, 3])
def test_that_many_pieces_are_computed_at_a_time(n, use_threads):
    use_threads(n)
    together = both(n)
    parallel(lambda _: together.wait(), range(n))
    assert not together.broken


def test_one_thread_computes_in_order(use_threads):
    use_threads(1)
    computed = []
    parallel(lambda i: computed.append((i, threading.current_thread())), range(20))
    assert computed == [(i, threading.current_thread()) for i in range(20)]


@pytest.mark.parametrize("fails", [False, True])
def test_no_more_pieces_at_a_time_than_threads_and_none_afterwards(fails, use_threads):
    use_threads(2)
    lock, running, most = threading.Lock(), [], []

    def work(i):
        with lock:
            running.append(i)
            most.append(len(running))
        time.sleep(0.001)
        with lock:
            running.remove(i)
        if fails and i == 5:
            raise KeyError(i)

    for _ in range(10):
        if fails:
            with pytest.raises(KeyError):
                parallel(work, range(20))
        else:
            parallel(work, range(20))
        assert running == []
    assert max(most) == 2


def test_another_number_of_threads_from_now_on(use_threads):
    before = set(threading.enumerate())
    for n in (2, 3, 1, 2):
        use_threads(n)
        assert minidl.get_num_threads() == n
        together = both(n)
        parallel(lambda _, together=together: together.wait(), range(n))
    use_threads(1)
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=30)
        assert not thread.is_alive(), "threads that are not needed any more end"


@pytest.mark.parametrize("where", ["caller", "helper", "caller and helper"])
def test_an_exception_reaches_the_caller(where, use_threads):
    use_threads(2)
    caller, together = threading.current_thread(), both()

    def work(i):
        together.wait()
        if ("caller" if threading.current_thread() is caller else "helper") in where:
            raise KeyError(f"piece {i}")

    for _ in range(3):
        with pytest.raises(KeyError, match="piece [01]"):
            parallel(work, range(2))
        assert squares(50) == [i * i for i in range(50)], "and then all goes on as before"


def test_where_the_system_starts_no_more_threads(use_threads, monkeypatch):
    """With two of three threads, all pieces are computed when the caller goes on: also that of the other thread."""
    use_threads(3)
    caller, start, started, done = threading.current_thread(), threading.Thread.start, [], []
    entered = threading.Event()

    def limited(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    def work(i):
        if threading.current_thread() is caller:
            assert entered.wait(timeout=10)
        else:
            entered.set()
            time.sleep(0.1)
        done.append(i)

    monkeypatch.setattr(threading.Thread, "start", limited)
    parallel(work, range(3))
    assert sorted(done) == [0, 1, 2]


def test_pieces_within_pieces(use_threads):
    """A piece may itself be cut: whoever computes it, nobody waits for ever."""
    use_threads(3)

    def deep(i):
        return sum(squares(i)) + sum(nested(3))

    def nested(n):
        results = [None] * n

        def work(i):
            results[i] = sum(squares(10 + i))

        parallel(work, range(n))
        return results

    def outer():
        results = [None] * 30

        def work(i):
            results[i] = deep(i)

        parallel(work, range(30))
        return results

    def total(n):
        return sum(i * i for i in range(n))

    assert in_time(outer) == [total(i) + total(10) + total(11) + total(12) for i in range(30)]


def test_pieces_of_a_piece_stay_on_its_thread(use_threads):
    """On the calling one too, when the other has nothing more to do."""
    use_threads(2)

    def outer():
        caller, seen = threading.get_ident(), set()
        both, other_is_done = threading.Barrier(2), threading.Event()

        def work(_):
            both.wait(10)
            if threading.get_ident() != caller:
                other_is_done.set()
                return
            other_is_done.wait(10)
            parallel(lambda _: seen.add(threading.get_ident()) or time.sleep(0.05), range(4))

        parallel(work, range(2))
        return seen == {caller}

    assert in_time(outer)


def test_several_users_at_once_who_change_their_minds(use_threads):
    use_threads(2)
    wrong = []

    def user(n):
        for i in range(60):
            if squares(n) != [i * i for i in range(n)]:
                wrong.append(n)
            if i % 20 == n:
                minidl.set_num_threads(1 + i % 3)

    def all_users():
        users = [threading.Thread(target=user, args=(n,), daemon=True) for n in (3, 5, 8, 13, 21)]
        for thread in users:
            thread.start()
        for thread in users:
            thread.join()
        return True

    assert in_time(all_users)
    assert wrong == []


def test_what_is_done_is_let_go(use_threads):
    """Also where a helper was busy with something else and never came: large arrays hang on a piece of work."""
    use_threads(2)
    entered, leave = both(3), threading.Event()

    def wait(_):
        entered.wait()
        assert leave.wait(timeout=30)

    other = threading.Thread(target=parallel, args=(wait, range(2)))
    other.start()
    entered.wait()
    array = np.zeros(10)
    alive = weakref.ref(array)
    parallel(lambda i, array=array: array[i], range(2))
    del array
    kept = alive() is not None
    leave.set()
    other.join(timeout=30)
    assert not kept


@pytest.mark.parametrize("treatment", ["raise", "ignore", "call"])
def test_floating_point_errors_are_treated_as_the_caller_says(treatment, use_threads):
    use_threads(2)
    caller, together, calls = threading.current_thread(), both(), []

    def work(_):
        together.wait()
        if threading.current_thread() is not caller:
            np.ones(3) / np.zeros(3)

    with np.errstate(divide=treatment, call=lambda *error: calls.append(error)):
        if treatment == "raise":
            with pytest.raises(FloatingPointError, match="divide by zero"):
                parallel(work, range(2))
        else:
            parallel(work, range(2))
    assert len(calls) == (treatment == "call")


def test_on_a_gpu_one_piece_at_a_time(use_threads):
    use_threads(3)
    assert threads_of(np) == 3
    assert threads_of(fakecupy) == 1


# ---------------------------------------------------------------------------------------------------------------- BLAS


class Library:
    """A library as threadpoolctl shows it."""

    def __init__(self, user_api, n):
        self.user_api, self.n, self.said = user_api, n, []

    def get_num_threads(self):
        return self.n

    def set_num_threads(self, n):
        self.n = n
        self.said.append(n)


@pytest.fixture
def no_memory_of_blas():
    """Libraries are looked for again, before the test and after it."""
    threads._blas_libraries.cache_clear()
    yield
    threads._blas_libraries.cache_clear()


@pytest.fixture
def libraries(monkeypatch, no_memory_of_blas):
    """Two BLAS libraries, with 4 and 3 threads, and one that is none; two threads of minidl's."""
    loaded = [Library("blas", 4), Library("openmp", 7), Library("blas", 3)]
    controller = types.SimpleNamespace(lib_controllers=loaded)
    stand_in = types.SimpleNamespace(ThreadpoolController=lambda: controller)
    monkeypatch.setitem(sys.modules, "threadpoolctl", stand_in)
    before = minidl.get_num_threads()
    minidl.set_num_threads(2)
    yield loaded
    minidl.set_num_threads(before)


def counts(libraries):
    return [library.n for library in libraries]


@pytest.mark.parametrize("count", [1, 2])
def test_blas_has_one_thread_meanwhile_and_as_many_as_before_afterwards(count, libraries):
    meanwhile = []
    parallel(lambda _: meanwhile.append(counts(libraries)), range(count))
    assert meanwhile == [[1, 7, 1]] * count
    assert counts(libraries) == [4, 7, 3]
    libraries[0].n = 2  # somebody has another wish
    parallel(lambda _: None, range(count))
    assert counts(libraries) == [2, 7, 3]


def test_blas_gets_its_threads_back_when_something_is_raised(libraries):
    with pytest.raises(ZeroDivisionError):
        parallel(lambda i: 1 / i, range(3))
    assert counts(libraries) == [4, 7, 3]


def test_blas_is_held_until_the_last_has_finished(libraries):
    entered, leave, seen = threading.Event(), threading.Event(), []

    def wait(_):
        entered.set()
        assert leave.wait(timeout=30)

    slow = threading.Thread(target=parallel, args=(wait, [0]))
    slow.start()
    assert entered.wait(timeout=30)
    parallel(lambda _: parallel(lambda _: seen.append(counts(libraries)), range(2)), range(2))
    seen.append(counts(libraries))
    leave.set()
    slow.join(timeout=30)
    assert seen == [[1, 7, 1]] * 5
    assert counts(libraries) == [4, 7, 3]


def test_threads_of_blas_itself():
    """The same with threadpoolctl and the BLAS of this NumPy."""
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")

    def numbers():
        return [entry["num_threads"] for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "blas"]

    meanwhile = []

    def work(i):
        meanwhile.append(numbers())
        return 1 / i

    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        before = numbers()
        assert set(before) == {3}
        parallel(work, [1, 2])
        assert {n for entry in meanwhile for n in entry} == {1}
        assert numbers() == before
        with pytest.raises(ZeroDivisionError):
            parallel(work, [1, 0])
        assert numbers() == before


def test_without_threadpoolctl_one_piece_after_the_other(monkeypatch, no_memory_of_blas):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    before = minidl.get_num_threads()
    minidl.set_num_threads(3)
    try:
        computed = []
        parallel(lambda i: computed.append((i, threading.current_thread())), range(20))
    finally:
        minidl.set_num_threads(before)
    assert computed == [(i, threading.current_thread()) for i in range(20)]


# ---------------------------------------------------------------------------------------------------- how many threads


@pytest.mark.parametrize("wrong", [0, -1, 1.0, 2.5, True, None, "2", (2,)], ids=repr)
def test_a_number_of_threads_that_is_none(wrong):
    before = minidl.get_num_threads()
    with pytest.raises(ValueError, match="^set_num_threads: expected an integer of at least 1, got "):
        minidl.set_num_threads(wrong)
    assert minidl.get_num_threads() == before


def test_a_number_of_numpys(use_threads):
    use_threads(np.int64(3))
    assert minidl.get_num_threads() == 3
    assert type(minidl.get_num_threads()) is int


def python(script, **environment):
    """What a new process prints that runs the script."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    rest = {name: value for name, value in os.environ.items() if name != "MINIDL_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=rest | {"PYTHONPATH": root} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("given", "expected"), [("3", "3"), (" 1 ", "1"), (None, None), ("", None)])
def test_the_environment_variable(given, expected):
    """Without it, one for each core this process may use."""
    cores = "len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()"
    script = f"import os, minidl; print(minidl.get_num_threads(), {cores}); minidl.set_num_threads(5); "
    script += "print(minidl.get_num_threads())"
    environment = {} if given is None else {"MINIDL_NUM_THREADS": given}
    said, cores, chosen = python(script, **environment).split()
    assert (said, chosen) == (cores if expected is None else expected, "5")


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5"])
def test_an_environment_variable_that_is_no_number(wrong):
    """`import minidl` goes well, what needs the number says why it has none, and one that is set is taken."""
    script = """
import minidl
try:
    minidl.get_num_threads()
except ValueError as error:
    print(error)
minidl.set_num_threads(2)
print(minidl.get_num_threads())
"""
    expected = f"MINIDL_NUM_THREADS: expected an integer of at least 1, got {wrong!r}\n2"
    assert python(script, MINIDL_NUM_THREADS=wrong) == expected


# ---------------------------------------------------------------------------------------------------------- processes


def test_an_import_changes_nothing():
    """It starts no thread, leaves the environment as it is, and does not even look at BLAS."""
    script = """
import os, sys, threading, types
import numpy

class Untouched(types.ModuleType):
    def __getattr__(self, name):
        raise AssertionError(f"threadpoolctl.{name} is used")

sys.modules["threadpoolctl"] = Untouched("threadpoolctl")
before = dict(os.environ), threading.enumerate()
import minidl, minidl.cli, models
assert (dict(os.environ), threading.enumerate()) == before
print("nothing")
"""
    assert python(script) == "nothing"


PRELUDE = """
import os, sys, threading, types
import numpy as np
import minidl
from minidl import functional as F
from minidl.kernels import threads

class Library:
    user_api, n = "blas", 4
    def get_num_threads(self): return self.n
    def set_num_threads(self, n): self.n = n

blas = Library()
controller = types.SimpleNamespace(lib_controllers=[blas])
sys.modules["threadpoolctl"] = types.SimpleNamespace(ThreadpoolController=lambda: controller)
minidl.set_num_threads(3)
x, weight = np.random.default_rng(0).standard_normal((2, 4, 40, 40, 32)), np.ones((3, 3, 32, 32))

def result():
    return F.conv2d(minidl.Tensor(x[0]), minidl.Tensor(weight)).numpy()
"""
FORK = """
def in_child(check):
    # The exit status of a child process that computes check().
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_the_child_has_threads_of_its_own():
    """Also a child's child, and a pool of processes."""
    script = """
import multiprocessing
expected = result()
assert threading.active_count() > 1

def child():
    together = threading.Barrier(3, timeout=30)
    threads.parallel(lambda _: together.wait(), range(3))
    return np.array_equal(result(), expected) and blas.n == 4

assert in_child(lambda: child() and in_child(child) == 0) == 0
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(np.array_equal(each, expected) for each in pool.starmap(result, [()] * 4))
assert child()
print("done")
"""
    assert python(PRELUDE + FORK + script, PYTHONWARNINGS="ignore") == "done"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_pieces_are_computed():
    """The child has no part in that work: its BLAS can be held, and is let go."""
    script = """
expected = result()
entered, leave = threading.Event(), threading.Event()

def wait(_):
    entered.set()
    leave.wait()

busy = threading.Thread(target=threads.parallel, args=(wait, [0]))
busy.start()
entered.wait()

def child():
    return np.array_equal(result(), expected) and blas.n == 4

status = in_child(child)
leave.set()
busy.join()
print(os.waitstatus_to_exitcode(status), blas.n)
"""
    assert python(PRELUDE + FORK + script, PYTHONWARNINGS="ignore") == "0 4"


@pytest.mark.parametrize("used_before", [True, False])
def test_after_the_main_thread_has_ended(used_before):
    """A thread may go on training, and a function of atexit look at the result: then Python starts no more threads."""
    script = f"""
import atexit

expected = result() if {used_before} else None
main = threading.main_thread()

def say(what):
    again = result()
    print(what, again.shape, expected is None or np.array_equal(again, expected), blas.n)

def go_on():
    main.join()
    say("thread")

threading.Thread(target=go_on).start()
atexit.register(say, "atexit")
"""
    assert python(PRELUDE + script).splitlines() == [f"{what} (4, 38, 38, 32) True 4" for what in ("thread", "atexit")]
