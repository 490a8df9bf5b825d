"""As the command `greeter`."""

from .cli import app

app(prog_name="greeter")
