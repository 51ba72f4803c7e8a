"""What the tests have to say when all are done: lines that conftest prints after pytest's own summary."""

lines: list[str] = []
