"""A page as a browser lays it out."""

import shutil
import subprocess
from pathlib import Path

import pytest

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
)


def measure_widths(text: str, selector: str, folder: Path) -> list[int]:
    """The widths in pixels of the page's elements that a CSS selector finds.

    The calling test is skipped where there is no browser; `folder` is for the browser's files.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no headless browser here")
    script = (
        f"<script>document.title = [...document.querySelectorAll('{selector}')]"
        ".map(each => Math.round(each.getBoundingClientRect().width)).join(' ')</script></body>"
    )
    page = folder / "page.html"
    page.write_text(text.replace("</body>", script), encoding="utf-8")
    done = subprocess.run(
        [browser, *_OPTIONS, f"--user-data-dir={folder}", "--dump-dom", page.as_uri()],
        capture_output=True,
        check=True,
        text=True,
        timeout=100,
    )
    _, _, rest = done.stdout.partition("<title>")
    return [int(width) for width in rest.partition("</title>")[0].split()]
