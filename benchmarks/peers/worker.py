"""The peer's end of a benchmark: answers requests on standard input, one JSON object a line.

It imports the standard library alone, since it runs in every virtual environment.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def serve(measure: Callable[..., dict[str, Any]]) -> None:
    """Calls ``measure(**request)`` for each request line and prints its answer as JSON.

    What a library prints meanwhile goes to standard error.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        print(json.dumps(measure(**json.loads(line))), file=answers, flush=True)
