"""Real processes for tests: what is tested here happens between them."""

import inspect
import os
import subprocess
import sys
import traceback
from collections.abc import Callable


def at_once(number: int, work: Callable[[int], None]) -> None:
    """Run `work(0)`, `work(1)`, … each in a process of its own, all let go at one moment."""
    waiting, start = os.pipe()
    children = []
    for each in range(number):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(start)
            os.read(waiting, 1)
            try:
                work(each)
            except BaseException:  # noqa: BLE001 - it is printed, and the test fails
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    os.close(start)
    codes = [os.waitpid(child, 0)[1] for child in children]
    assert not any(codes), codes


_PRELUDE = f"import os, sys, traceback\nfrom collections.abc import Callable\n\n\
{inspect.getsource(at_once)}\n\n"


def start(source: str, *arguments: object) -> subprocess.Popen[str]:
    """Start Python source, which may use `at_once`, in a fresh process."""
    command = [sys.executable, "-c", _PRELUDE + inspect.cleandoc(source), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run(source: str, *arguments: object) -> str:
    """Run it to its end; what it printed."""
    output, said = (process := start(source, *arguments)).communicate(timeout=120)
    assert process.returncode == 0, said
    return output
