"""Start the command through its entry point, as the script of an installed distribution does."""

import sys
from importlib.metadata import entry_points

(script,) = entry_points(group="console_scripts", name="greeter")
for arguments in (["greet", "you", "--loud"], ["version"], ["greet"], ["greet", "--help"]):
    sys.argv = ["greeter", *arguments]
    try:
        script.load()()
    except SystemExit as stop:
        print(script.dist.version, stop.code)
