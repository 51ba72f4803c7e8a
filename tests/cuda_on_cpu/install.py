"""Let the CuPy of this virtual environment compute on the CPU: `python tests/cuda_on_cpu/install.py`.

It then works under the command `cuda-on-cpu`, which this puts beside python:

    cuda-on-cpu pytest -m gpu

See README.md beside this file. What the environment needs is in requirements.txt there; the machine needs g++.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = Path(sysconfig.get_path("purelib"))
HOME = Path(sys.prefix) / "cuda_on_cpu"
HEADERS = PACKAGES / "nvidia" / "cu13" / "include"
CUPY_HEADERS = PACKAGES / "cupy" / "_core" / "include"
SONAMES = ("libcudart.so.13", "libcuda.so.1", "libnvrtc.so.13", "libcublas.so.13", "libcublasLt.so.13")
KERNEL_FLAGS = "-std=c++17 -O1 -w -fPIC -shared -fno-strict-aliasing"
CYTHON_OPTIONS = """
    -3 --cplus -X embedsignature=True,c_api_binop_methods=True,binding=False
    -X freethreading_compatible=True,warn.deprecated.IF=False
    -E CUPY_CUDA_VERSION=13000,CUPY_HIP_VERSION=0,CUPY_USE_CUDA_PYTHON=False
"""  # those of CuPy's own build
LAUNCHER = """#!/bin/sh
# CUDA on the CPU for the command that follows. Its kernels are kept apart from those of a GPU; CUB's are not used.
[ $# -gt 0 ] || { echo "usage: cuda-on-cpu COMMAND [ARGUMENT ...]" >&2; exit 2; }
home=HOME
export CUDA_ON_CPU="$home" CUPY_CACHE_DIR="$home/kernels" CUPY_ACCELERATORS=
export LD_LIBRARY_PATH="$home/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$@"
"""


def main() -> None:
    version = check()
    with tempfile.TemporaryDirectory() as folder:
        runtime = compile_cupys_runtime(Path(folder), version)
        shutil.rmtree(HOME, ignore_errors=True)  # now that nothing has to be fetched any more
        (HOME / "lib").mkdir(parents=True)
        build_cuda(Path(folder), users=[runtime, *PACKAGES.glob("cupy_backends/cuda/libs/cublas.*.so")])
        link_cupys_runtime(runtime)
    for module in PACKAGES.glob("cupy/cuda/thrust.*.so"):
        module.unlink()
    shutil.copy(HERE / "thrust.py", PACKAGES / "cupy" / "cuda")
    precompile_kernel_header()
    launcher = Path(sys.prefix) / "bin" / "cuda-on-cpu"
    launcher.write_text(LAUNCHER.replace("home=HOME", "home=" + shlex.quote(str(HOME)), 1))
    launcher.chmod(0o755)
    print(f"CuPy {version} computes on the CPU under {launcher.name}")


def run(*command: object, **options: Any) -> str:
    """What a command prints; where it fails, all that it said."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, **options)
    if result.returncode:
        sys.exit(f"{' '.join(words)}\n{result.stdout}{result.stderr}\ninstall.py: this command failed")
    return result.stdout


def check() -> str:
    """The version of CuPy, where all is there."""
    if sys.prefix == sys.base_prefix:
        sys.exit("install.py changes the CuPy that is installed: run it with the python of a virtual environment")
    if "'" in str(HOME):
        sys.exit(f"install.py cannot work in a folder whose name has a quote in it: {HOME}")
    if platform.machine() != "x86_64":
        sys.exit(f"install.py: kernels change stacks in the language of x86_64, and this is {platform.machine()}")
    if shutil.which("g++") is None:
        sys.exit("install.py needs g++: apt-get install g++")
    needed = [line for line in (HERE / "requirements.txt").read_text().split("\n") if line and not line.startswith("#")]
    installed = {distribution.name.lower() for distribution in importlib.metadata.distributions()}
    if absent := [name for name in needed if name not in installed]:
        command = f"pip install -c .ci/constraints.txt -r {HERE / 'requirements.txt'}"
        sys.exit(f"install.py needs {', '.join(absent)} in this environment: {command}")
    return importlib.metadata.version("cupy-cuda13x")


# ---- the one module of CuPy that has CUDA's runtime inside it: made anew from CuPy's source, with a library to load


def compile_cupys_runtime(build: Path, version: str) -> Path:
    use_stub = os.environ | {"CUPY_INSTALL_USE_STUB": "1"}  # else the source asks for all of CUDA
    wanted = ["--no-deps", "--no-binary", "cupy", f"cupy=={version}"]
    run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", build, *wanted, env=use_stub)
    with tarfile.open(build / f"cupy-{version}.tar.gz") as archive:
        archive.extractall(build, filter="data")
    source = build / f"cupy-{version}" / "cupy_backends" / "cuda" / "api"
    run(sys.executable, "-m", "cython", *CYTHON_OPTIONS.split(), "runtime.pyx", cwd=source)
    includes = [f"-I{HEADERS}", f"-I{sysconfig.get_path('include')}"]
    run("g++", "-O1", "-w", "-fPIC", *includes, "-c", "runtime.cpp", "-o", "runtime.o", cwd=source)
    return source / "runtime.o"


def link_cupys_runtime(runtime: Path) -> None:
    module = PACKAGES / "cupy_backends" / "cuda" / "api" / f"runtime{sysconfig.get_config_var('EXT_SUFFIX')}"
    run("g++", "-shared", runtime, f"-L{HOME / 'lib'}", "-l:libcudart.so.13", "-o", module)


# ---- CUDA's libraries: one, under all their names


def build_cuda(build: Path, users: list[Path]) -> None:
    objects = []
    for source in sorted(HERE.glob("*.cpp")):
        objects.append(build / f"{source.stem}.o")
        flags = ["-std=c++17", "-O3", "-fPIC", f"-I{HEADERS}", f'-DCUDA_ON_CPU_FLAGS="{KERNEL_FLAGS}"']
        run("g++", *flags, "-c", source, "-o", objects[-1])
    missing = symbols("--undefined-only", *users) - symbols("--defined-only", *objects)
    (build / "missing.cpp").write_text(abort_in(sorted(missing)))
    library = HOME / "lib" / "libcuda_on_cpu.so"
    run("g++", "-shared", "-fPIC", build / "missing.cpp", *objects, "-ldl", "-o", library)
    for name in SONAMES:
        (HOME / "lib" / name).symlink_to(library.name)


def symbols(which: str, *files: Path) -> set[str]:
    """CUDA's functions among the symbols of object files and libraries."""
    lines = "".join(run("nm", which, *(["-D"] if file.suffix == ".so" else []), file) for file in files)
    return set(re.findall(r"\b(cuda[A-Z]\w+|cublas[A-Z]\w+)", lines))


def abort_in(names: list[str]) -> str:
    """Functions that CuPy names and nothing here calls."""
    body = '{ std::fprintf(stderr, "cuda_on_cpu: %s is not there\\n", __func__); std::abort(); }'
    return "#include <cstdio>\n#include <cstdlib>\n" + "".join(f'extern "C" void {name}() {body}\n' for name in names)


def precompile_kernel_header() -> None:
    for header in ("kernel.h", "launch.h"):
        shutil.copy(HERE / header, HOME)
    bundled = [CUPY_HEADERS / "cupy" / "_cccl" / name for name in ("cub", "thrust", "libcudacxx")]
    includes = [f"-I{folder}" for folder in (*bundled, CUPY_HEADERS, HEADERS)]
    flags = [flag for flag in KERNEL_FLAGS.split() if flag != "-shared"]
    run("g++", *flags, *includes, "-x", "c++-header", HOME / "kernel.h", "-o", HOME / "kernel.h.gch")


if __name__ == "__main__":
    main()
