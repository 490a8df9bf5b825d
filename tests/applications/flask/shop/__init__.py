"""A Flask application that finds its files as Flask does by default."""

import click
from flask import Flask, render_template

from .parts import parts


def create_app() -> Flask:
    app = Flask(__name__)
    app.register_blueprint(parts)

    @app.get("/")
    def index() -> str:
        return render_template("shop/index.html", goods=["tea", "<salt>"])

    @app.cli.command("restock")
    @click.argument("name")
    def restock(name: str) -> None:
        click.echo(f"more {name}")

    return app
