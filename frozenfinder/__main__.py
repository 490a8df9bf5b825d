"""`python -m frozenfinder COMMAND`, and the console script of that name."""

import sys


def main(argv: "list[str] | None" = None) -> int:
    """Run the command line `argv` (without the program's name); return the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["run"]:
        # a program waits for this: argparse alone would double the cost
        from frozenfinder.cli.run import main as run

        return run(arguments[1:])
    from frozenfinder.cli.commands import main as dispatch

    return dispatch(arguments)


if __name__ == "__main__" and (status := main()):
    sys.exit(status)
