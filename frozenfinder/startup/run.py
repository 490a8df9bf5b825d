"""`python …/startup/run.py` is `python -m frozenfinder run`, wherever the package is.

In closed mode, `multiprocessing` starts its processes with it: see `frozenfinder.closed.processes`.
"""

import sys
from os.path import abspath, dirname

if not sys.flags.safe_path:
    sys.path[0] = ""
sys.path.insert(0, dirname(dirname(dirname(abspath(__file__)))))
try:
    # deferred: the package may be nowhere else on the path
    from frozenfinder.cli.run import main
finally:
    del sys.path[0]
if status := main(sys.argv[1:], hand_on=False):
    sys.exit(status)
