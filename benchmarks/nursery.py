"""Forks runs of journeyman that have all they import, and its place in memory, in common.

Two processes of the same program differ in speed by some hundredths for as long as they live,
by the addresses that they happen to get; forks of one process have the same. Orders come on
standard input, a JSON object a line, and are answered on standard output.
"""

import atexit
import json
import os
import sys


def main() -> None:
    """Begins runs (``{"begin": [argv], "cwd": ..., "said": ...}``: a process id) and waits for
    their end (``{"wait": pid}``: the exit code)."""
    import scipy.stats  # noqa: F401
    import torch._dynamo  # noqa: F401 (optimizers import it at their first step)

    import journeyman.env.gymnasium
    import journeyman.env.town.vector_env
    import journeyman.main
    import journeyman.orchestrator
    import journeyman.strategies.training  # noqa: F401
    from journeyman.cli import run

    print(flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
            continue
        process = os.fork()
        if process == 0:
            said = os.open(order["said"], os.O_WRONLY | os.O_CREAT)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.chdir(order["cwd"])
            code = run(order["begin"])
            atexit._run_exitfuncs()
            os._exit(code)  # a fork has a second of everybody's objects to take apart
        print(process, flush=True)


if __name__ == "__main__":
    main()
