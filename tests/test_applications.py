"""Whole applications run in closed mode: all that is theirs is in the registry, nothing on disk.

Each is frozen with the distributions that it is made with. Then the application's own folder and
the environment's site-packages directory are moved away, and the program that was run before is run
again.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.environments import Environment

APPLICATIONS = Path(__file__).with_name("applications")


@dataclass(frozen=True)
class Application:
    """A folder of `applications`: what it is made with and how much of it is served, at least.

    `laid_out` are the packages that open their files by path. Without its extension modules a
    framework takes what it has in Python instead, but for Typer's, which has nothing.
    """

    name: str
    distribution: str
    served: int
    laid_out: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


FLASK = Application("flask", "Flask", 80, ("shop",))
DJANGO = Application("django", "Django", 350, ("django", "library"))
TYPER = Application("typer", "typer", 60, options=("--extensions=embed",))


@pytest.mark.long
@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("application", [FLASK, DJANGO, TYPER], ids=lambda each: each.name)
def test_an_application_runs_from_its_registry_alone(
    application: Application, tmp_path: Path
) -> None:
    environment = Environment.create(tmp_path, [application.distribution])
    project = tmp_path / "project"
    shutil.copytree(APPLICATIONS / application.name, project)
    check = (project / "check.py").rename(tmp_path / "check.py")
    stock = run(environment, check, f"sys.path.insert(0, {str(project)!r})")
    environment.freeze(
        f"--path={project}",
        f"--distribution={application.distribution}",
        "--with-dependencies",
        *application.options,
    )
    environment.move_packages_away()
    project.rename(tmp_path / "moved away")
    install = f"""
import frozenfinder
finder = frozenfinder.install({str(environment.registry)!r}, mode="closed")
finder.lay_out(*{application.laid_out!r})
atexit.register(lambda: print(finder.served))
"""
    ours, served = run(environment, check, install).rsplit(maxsplit=1)
    assert ours == stock.rstrip()
    assert int(served) > application.served


def run(environment: Environment, check: Path, prelude: str) -> str:
    cache = environment.root / "cache"
    program = f"""
import atexit, os, sys, runpy
os.environ["FROZENFINDER_CACHE"] = {str(cache)!r}
{prelude}
runpy.run_path({str(check)!r}, run_name="__main__")
"""
    return environment.run("-X", "utf8", "-c", program)
