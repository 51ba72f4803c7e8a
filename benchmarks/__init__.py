"""How fast minidl is, and how fast other engines are on the same machine: `python -m benchmarks --help`.

Each engine computes alone in its own process. Answers are checked before anything is timed, engines take turns, and
what is kept is every sample.
"""
