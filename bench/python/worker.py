"""Why this exists: every contender is a process that is told on its input what to do and answers how long it took, by
its own clock. So what is measured is the work, not the pipe; and contenders take turns, so that whatever else the
machine does falls on all of them alike.

A line in is a JSON list: the name of the work and its arguments. A line out is a JSON object: `ns` if the work was
timed, `cannot` with the reason if this contender has nothing of the kind, `failed` if it should have worked.
"""

import json
import os
import resource
import sys
import time
import traceback

PAGE = 100


class Cannot(Exception):
    """There is nothing of the kind."""


def timed(work):
    started = time.perf_counter_ns()
    result = work()
    return {"ns": time.perf_counter_ns() - started, "seen": len(result) if hasattr(result, "__len__") else None}


def memory():
    with open("/proc/self/statm") as file:
        return {"bytes": int(file.read().split()[1]) * resource.getpagesize()}


def serve(contender):
    # Whatever a library prints must not be taken for an answer.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            if name == "memory":
                answer = memory()
            else:
                answer = getattr(contender, name)(*arguments) or {}
        except Cannot as reason:
            answer = {"cannot": str(reason)}
        except Exception:
            answer = {"failed": traceback.format_exc(limit=4)}
        out.write(json.dumps(answer) + "\n")
        out.flush()
