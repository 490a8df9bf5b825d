"""Run a command from a small process, and print what it took after what it prints.

    python -I -S spawn.py warm|cold COMMAND...

A new process begins with the peak memory of the one that it was made by, so that has to be small.
The line has seconds by the clock, seconds of CPU time and kilobytes of memory at most. With `cold`
the page cache is emptied at the last moment.
"""

import os
import sys
import time


def main(cache: str, *argv: str) -> int:
    if cache == "cold":
        os.sync()
        with open("/proc/sys/vm/drop_caches", "wb") as stream:
            stream.write(b"3")
    begin = time.perf_counter()
    process = os.posix_spawn(argv[0], argv, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - begin
    unit = 1024 if sys.platform == "darwin" else 1
    print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // unit)
    return abs(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
