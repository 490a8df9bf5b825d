"""Distributions as pip and uv install them: what they require, and what editable ones are."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from support.processes import Python
from support.sources import write_tree
from support.wheels import build_wheel

from frozenfinder.errors import FreezeError
from frozenfinder.freezer import Manifest, Plan, discover

pytestmark = pytest.mark.usefixtures("processes")

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

BACKEND = """\
import os, zipfile

FILES = {
    "_edited.pth": os.path.abspath("src"),
    "edited-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: edited\\nVersion: 1.0\\n",
    "edited-1.0.dist-info/WHEEL":
        "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "edited-1.0.dist-info/RECORD": "",
}

def build_editable(folder, settings=None, metadata=None):
    name = "edited-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
    return name
"""

Install = Callable[..., None]


def run(*command: str | Path) -> None:
    done = subprocess.run(
        [*command],
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "UV_NO_CACHE": "1"},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def install_with_pip(site: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check")
    run(*pip, "install", "--no-index", "--target", site, *what)


def install_with_uv(site: Path, *what: str | Path) -> None:
    uv = (sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable)
    run(*uv, "--offline", "--no-index", "--target", site, *what)


INSTALLERS = {"pip": install_with_pip, "uv": install_with_uv}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program whose library needs another for what the program asks of it, as httpie's does."""
    folder = tmp_path_factory.mktemp("wheels")
    build_wheel(
        folder,
        "app",
        "lib[socks]>=1\nlib-tools[all]; python_version >= '3'\nancient; python_version < '3'",
        "[console_scripts]\napp = app:main\n",
        app="def main():\n    import lib\n    print(lib.connect())\n",
    )
    build_wheel(
        folder,
        "lib",
        "socksy[fast]; extra == 'socks'\nunasked; extra == 'other'",
        lib="def connect():\n    import socksy\n    return socksy.NAME\n",
    )
    build_wheel(
        folder,
        "lib_tools",
        "lib-tools[one,two]; extra == 'all'\none; extra == 'one'\ntwo; extra == 'two'",
        lib_tools="",
    )
    build_wheel(folder, "socksy", "speedy; extra == 'fast'", socksy="NAME = 'socks'\n")
    for name in ("speedy", "one", "two", "unasked", "ancient"):
        build_wheel(folder, name, **{name: ""})
    return folder


@pytest.fixture(params=INSTALLERS)
def installer(request: pytest.FixtureRequest) -> Install:
    return INSTALLERS[request.param]


def names(plan: Plan) -> set[str]:
    return {module.name for module in plan.modules if module.kind == "source"}


def test_what_is_frozen_is_what_the_installer_installed(
    installer: Install, wheels: Path, tmp_path: Path
) -> None:
    installer(tmp_path / "site", "--find-links", wheels, "app")
    installer(tmp_path / "more", "--find-links", wheels, "unasked", "ancient")
    found = [each.metadata["Name"] for each in distributions(path=[str(tmp_path / "site")])]
    path = [str(tmp_path / "site"), str(tmp_path / "more")]
    plan = discover(Manifest(distributions=("app",), with_dependencies=True), path)
    assert names(plan) == set(found)
    assert names(plan) == {"app", "lib", "lib_tools", "one", "socksy", "speedy", "two"}
    assert [each for each in plan.omitted if "is required by" in each.reason] == []


def test_a_bundle_has_what_extras_require(wheels: Path, tmp_path: Path, python: Python) -> None:
    install_with_pip(tmp_path / "site", "--find-links", wheels, "app")
    bundle = tmp_path / "app.pyz"
    python(
        *("-m", "frozenfinder", "bundle", "--quiet", "--script", "app", "-o", bundle),
        env={"PYTHONPATH": str(tmp_path / "site")},
    )
    assert python("-I", "-S", bundle, cwd=tmp_path).stdout == "socks\n"


def test_what_a_requirement_lacks_is_told(wheels: Path, tmp_path: Path, python: Python) -> None:
    install_with_pip(tmp_path / "site", "--find-links", wheels, "--no-deps", "app", "lib")
    done = python(
        *("-m", "frozenfinder", "freeze", "--distribution", "app", "--with-dependencies"),
        *("-o", tmp_path / "app.frz"),
        env={"PYTHONPATH": str(tmp_path / "site")},
    )
    assert [line for line in done.stdout.splitlines() if "is required by" in line] == [
        "  lib-tools: is required by 'app', but is not installed",
        "  socksy: is required by 'lib', but is not installed",
    ]


# -- editable installations


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "pyproject.toml": PYPROJECT + '[project]\nname = "edited"\nversion = "1.0"\n',
        "backend.py": BACKEND,
        "src/edited.py": "",
    }
    return write_tree(tmp_path / "pro ject", files)


def test_an_editable_installation_is_refused(
    installer: Install, project: Path, tmp_path: Path
) -> None:
    installer(tmp_path / "site", "--editable", project)
    with pytest.raises(FreezeError) as caught:
        discover(Manifest(distributions=("edited",)), [str(tmp_path / "site")])
    assert str(caught.value) == (
        "distribution 'edited': is an editable installation, whose files are elsewhere; "
        "freeze their folder with --path"
    )


def test_the_metadata_of_an_editable_installation_goes_with_its_modules(
    installer: Install, project: Path, tmp_path: Path
) -> None:
    installer(tmp_path / "site", "--editable", project)
    (installed,) = Distribution.discover(path=[str(tmp_path / "site")])
    assert installed.read_text("direct_url.json") is not None
    path = [str(project / "src"), str(tmp_path / "site")]
    plan = discover(Manifest(entries=("edited",)), path)
    assert "edited-1.0.dist-info/METADATA" in [file.path for file in plan.files]
