"""`python …/frozenfinder/startup` is `python -m frozenfinder run`, wherever the package lies.

Closed mode has `multiprocessing` start its processes so: see `frozenfinder.children`.
"""

import sys
from os.path import dirname

folder = sys.path[0]
sys.path[:1] = [] if sys.flags.safe_path else [""]
sys.path.insert(0, dirname(dirname(folder)))
try:
    # deferred: the package may be found nowhere else
    from frozenfinder.cli.run import main
finally:
    del sys.path[0]
if status := main(sys.argv[1:], hand_on=False):
    sys.exit(status)
