"""No test was skipped but for a reason on the list: `python .ci/check_skips.py PYTEST_LOG [ALLOWED_REASON ...]`."""

import re
import sys

log, *allowed = sys.argv[1:]
with open(log, encoding="utf-8") as file:
    skips = re.findall(r"^SKIPPED \[\d+\] (.*)$", file.read(), flags=re.MULTILINE)
unexpected = [skip for skip in skips if not any(reason in skip for reason in allowed)]
sys.exit("skipped without leave:\n" + "\n".join(unexpected) if unexpected else 0)
