"""`frozenfinder enable FILE`: let every interpreter of this environment install a registry."""

import argparse
import site
import subprocess
import sys
from pathlib import Path

from frozenfinder.enable.files import ActivationFile, Enabled
from frozenfinder.enable.piece import write_piece
from frozenfinder.runtime.hooks import install, open_registry, uninstall
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import SEPARATOR

from . import DONE, UsageError
from .parser import MODES, Parser

SUMMARY = "boot every interpreter of this environment from a registry"


def make_parser() -> Parser:
    parser = Parser("enable", SUMMARY)
    parser.add_registry()
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="overlay",
        help="the mode to install it in (default: overlay)",
    )
    parser.add_argument(
        "--trusted", action="store_true", help="accept it even if others can write to it"
    )
    parser.add_argument("--sha256", metavar="HEX", help="accept it only if it has this SHA-256")
    parser.add_argument(
        "--verify-key", metavar="HEX", help="accept it only if it is signed with this Ed25519 key"
    )
    parser.add_argument(
        "--fast-exit",
        action="store_true",
        help="end processes without the last garbage collections, unless an object is alive that "
        "has a finalizer to run",
    )
    return parser


def main(options: argparse.Namespace) -> int:
    registry = open_registry(options.registry)
    if registry.mismatch is not None:
        raise registry.version_error()
    names = ("mode", "trusted", "sha256", "verify_key", "fast_exit")
    given = {name: value for name in names if (value := getattr(options, name))}
    try:
        uninstall(install(registry, **given))  # raises if it cannot be installed
    except ValueError as error:
        raise UsageError(str(error)) from error
    files = ActivationFile.of_environment()
    check_is_read(files.directory)
    check_is_found()
    try:
        path = registry.path.removeprefix(sys.prefix + SEPARATOR)
        found = find_frozen_metadata(registry, files.directory) if options.mode == "closed" else []
        files.write(Enabled(path, given, distributions=found))
    except OSError as error:
        raise refusal(files, error) from error
    write_piece()
    print(f"{registry.where} is enabled in {options.mode} mode by {str(files.trigger)!r}")
    return DONE


def find_frozen_metadata(registry: Registry, directory: Path) -> list[str]:
    """The folders of metadata in a directory that the registry has frozen from there."""
    frozen = {file.path.partition("/")[0] for file in registry.files()}
    return sorted(
        name for name in frozen if name.endswith(".dist-info") and directory.joinpath(name).is_dir()
    )


def check_is_read(directory: Path) -> None:
    """UsageError unless interpreters read an activation file of this directory."""
    read = [Path(each).resolve() for each in site.getsitepackages()]
    if directory.resolve() not in read:
        raise UsageError(
            f"{str(directory)!r} is not a directory whose activation file interpreters read, "
            f"expected one of: {', '.join(map(str, read))}; enable the registry in a virtual "
            "environment"
        )


def check_is_found() -> None:
    """UsageError unless interpreters find this package when they start."""
    command = [sys.executable, "-P", "-c", "import frozenfinder.activation"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise UsageError(
            "interpreters of this environment cannot import frozenfinder when they start; install "
            f"it with: {sys.executable} -m pip install frozenfinder"
        )


def refusal(files: ActivationFile, error: OSError) -> UsageError:
    return UsageError(
        f"the activation file in {str(files.directory)!r} cannot be changed: {error.strerror}; "
        "do it as the owner of the environment, or in a virtual environment of your own"
    )
