"""The command line: greetings come from a resource, and the version from the metadata."""

import importlib.metadata
import importlib.resources
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def greet(name: str, loud: Annotated[bool, typer.Option(help="in capitals")] = False) -> None:
    """Greet somebody."""
    template = importlib.resources.files("greeter").joinpath("greeting.txt")
    text = template.read_text(encoding="utf-8").strip().format(name=name)
    typer.echo(text.upper() if loud else text)


@app.command()
def version() -> None:
    """Tell the version."""
    typer.echo(importlib.metadata.version("greeter"))
