"""What the project's own files say of each other."""

import configparser
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import frozenfinder
from frozenfinder.runtime.system import LISTED

ROOT = Path(__file__).parent.parent
INTERPRETERS = ["3.11", "3.12", "3.13", "3.14", "3.15"]

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|work|farm|home/\w+|Users/\w+)/")
NEIGHBOUR_PATH = re.compile(r"\.\./shared\b")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = git("ls-files", "-z")
    return [path for name in listing.split("\0")[:-1] if (path := ROOT / name).is_file()]


def git(*arguments: str) -> str:
    """What git prints about this checkout."""
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, check=True, encoding="utf-8"
    ).stdout


def lines_with(pattern: re.Pattern[str], *but: str) -> list[str]:
    """`file:line: text` for each line of a tracked file that holds the pattern."""
    return [
        f"{name}:{number}: {line.strip()}"
        for path in tracked_files()
        if (name := path.relative_to(ROOT).as_posix()) not in but
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if pattern.search(line)
    ]


def find_classifiers(pattern: str) -> list[str]:
    """The group of each classifier that the pattern matches."""
    lines = tomllib.loads(read("pyproject.toml"))["project"]["classifiers"]
    return [found.group(1) for line in lines if (found := re.fullmatch(pattern, line))]


def readme_commands() -> list[str]:
    return re.findall(r"^python -m pip install .* && .*$", read("README.md"), re.MULTILINE)


def test_the_readme_has_one_command_that_runs_it_and_one_that_tests_it() -> None:
    assert readme_commands() == [
        'python -m pip install ".[cli]" && python -m frozenfinder demo',
        "python -m pip install tox && tox",
    ]


def test_the_links_of_the_readme_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", read("README.md"))
    assert targets
    assert [each for each in targets if not (ROOT / each).exists()] == []


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert read(".ci/run").splitlines()[-1] == readme_commands()[-1]


def test_tox_runs_every_interpreter_that_the_classifiers_name() -> None:
    tox = configparser.ConfigParser()
    tox.read_string(read("tox.ini"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    classified = find_classifiers(r"Programming Language :: Python :: (3\.\d+)")
    environments = tox["tox"]["env_list"].split(", ")
    tested = [f"3.{name[3:]}" for name in environments if name.startswith("py3")]
    assert tested == classified == INTERPRETERS
    (first, last), minors = LISTED, [int(name.partition(".")[2]) for name in INTERPRETERS]
    assert ((3, minors[0]), (3, minors[-1])) == (first, last)
    assert minors == list(range(first[1], last[1] + 1))
    assert project["requires-python"] == f">={INTERPRETERS[0]}"


def test_the_classifiers_name_the_systems_that_the_readme_says_it_was_run_on() -> None:
    text = " ".join(read("README.md").split())
    found = re.search(r"run on ([\w, ]+?)(?: alone)? so far", text)
    systems = re.split(", | and ", found.group(1)) if found else []
    assert find_classifiers(r"Operating System :: .*?(\w+)") == systems


def test_the_hooks_before_a_commit_run_tox_and_name_no_version_of_a_tool() -> None:
    hooks = read(".pre-commit-config.yaml")
    assert set(re.findall(r"repo: (.+)", hooks)) == {"local"}
    assert set(re.findall(r"additional_dependencies: (.+)", hooks)) == {"[tox]"}
    environments = re.findall(r"entry: tox run -q -e (\w+)\n", hooks)
    assert len(environments) == hooks.count("- id: ")
    tox = configparser.ConfigParser()
    tox.read_string(read("tox.ini"))
    assert {f"testenv:{name}" for name in environments} - set(tox.sections()) == set()


def test_every_changelog_fragment_has_a_name_that_renders_without_an_issue() -> None:
    kinds = "feature|bugfix|doc|removal|misc"
    names = {path.name for path in (ROOT / "changelog.d").iterdir()} - {"README.md"}
    wrong = [name for name in names if not re.fullmatch(rf"\+[a-z0-9-]+\.({kinds})\.md", name)]
    assert wrong == []


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("*.md")))
def test_the_links_of_a_page_beside_the_documentation_lead_to_files(page: str) -> None:
    """Sphinx checks those of the documentation."""
    targets = re.findall(r"\]\(([^)#]+)", read(page))
    assert [each for each in targets if "://" not in each and not (ROOT / each).exists()] == []


def find_named_paths(page: str) -> set[str]:
    """The paths in code spans of a page; without those that stand for any name."""
    spans = re.findall(r"`([\w./-]+)`", read(page))
    paths = {each for each in spans if "/" in each or each.endswith((".py", ".toml", ".md"))}
    return {each for each in paths if "NAME" not in each}


def test_contributing_names_files_and_folders_that_exist() -> None:
    paths = find_named_paths("CONTRIBUTING.md")
    assert {"closed/resources.py", "runtime/layout.py", "native/folder.py"} <= paths
    folders = [ROOT, ROOT / "frozenfinder"]
    assert [each for each in paths if not any((top / each).exists() for top in folders)] == []


def test_what_contributing_says_is_in_a_module_is_in_it() -> None:
    text = " ".join(read("CONTRIBUTING.md").split())
    found = re.findall(r"`([A-Za-z_]+)` in `([\w/]+\.py)`", text)
    assert len(found) >= 3
    for name, path in found:
        assert re.search(rf"^(class )?{name}\b", read(f"frozenfinder/{path}"), re.MULTILINE), path


@pytest.mark.usefixtures("processes")
def test_the_commits_that_blame_ignores_exist() -> None:
    tracked_files()  # skips where there is no history
    if git("rev-parse", "--is-shallow-repository") == "true\n":
        pytest.skip("the checkout has no old commits")
    for commit in re.findall(r"^\w{40}$", read(".git-blame-ignore-revs"), re.MULTILINE):
        assert git("cat-file", "-t", commit) == "commit\n"


def test_the_page_of_the_mutants_names_code_that_exists() -> None:
    modules = ("layout", "registry", "lock", "system")
    files = [f"frozenfinder/runtime/{name}.py" for name in modules]
    files += ["frozenfinder/freezer/write/pack.py", "frozenfinder/native/fixups.py"]
    code = "".join(map(read, files))
    rows = re.findall(r"^\| (`.+?) \|", read("docs/explanation/mutants.md"), re.MULTILINE)
    names = set(re.findall(r"`(?:\w+\.)?(\w+)`", " ".join(rows)))
    assert len(names) > 20
    assert {name for name in names if not re.search(rf"\b{name}\b", code)} - {
        *modules,
        "pack",
        "fixups",
    } == set()


def test_the_installed_version_is_that_of_the_package() -> None:
    assert version("frozenfinder") == frozenfinder.__version__


@pytest.mark.usefixtures("processes")
def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATH) == []


@pytest.mark.usefixtures("processes")
def test_only_ci_looks_beside_the_checkout() -> None:
    assert lines_with(NEIGHBOUR_PATH, ".ci/run") == []
