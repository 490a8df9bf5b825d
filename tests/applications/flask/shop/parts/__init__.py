"""A blueprint with templates of its own."""

from flask import Blueprint, render_template

parts = Blueprint("parts", __name__, url_prefix="/parts", template_folder="templates")


@parts.get("/<name>")
def show(name: str) -> str:
    return render_template("parts/part.html", name=name)
