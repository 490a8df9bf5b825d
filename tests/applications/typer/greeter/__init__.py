"""A Typer application that is started through its entry point."""
