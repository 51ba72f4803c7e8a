"""What the tests have to say when all are done: lines that conftest prints after pytest's own summary."""

import json
from pathlib import Path

lines: list[str] = []


def mutants():
    """How many of the changes that tests/mutate.py last made to the engine were noticed."""
    results = json.loads((Path(__file__).parent / "mutants.json").read_text(encoding="utf-8"))
    tried = sum(entry["tried"] for entry in results.values())
    survived = sum(len(entry["survived"]) for entry in results.values())
    return (
        f"the tests are checked: {tried - survived:,} of {tried:,} changes to {len(results)} files of the engine are "
        f"noticed, {1 - survived / tried:.1%} (the last run of tests/mutate.py; tests/MUTANTS.md)"
    )
