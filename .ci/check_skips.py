"""Tests have run, and none was skipped but for a reason on the list.

Usage: python .ci/check_skips.py PYTEST_LOG [ALLOWED_REASON ...]
"""

import re
import sys

log, *allowed = sys.argv[1:]
with open(log, encoding="utf-8") as file:
    text = file.read()
if not re.search(r"\d+ passed", text):
    sys.exit(f"{log}: no test has run")
skips = re.findall(r"^SKIPPED \[\d+\] (.*)$", text, flags=re.MULTILINE)
unexpected = [skip for skip in skips if not any(reason in skip for reason in allowed)]
sys.exit("skipped without leave:\n" + "\n".join(unexpected) if unexpected else 0)
