"""Real libraries do a real job from a registry of the stdlib and of them, in both modes.

The job runs in a fresh process of an environment of its own. In closed mode the environment's
site-packages directory is moved away first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from environments import Environment

JOBS = {
    "flask": """
import flask
app = flask.Flask('app')
@app.get('/<name>')
def greet(name):
    return flask.jsonify(text=flask.render_template_string('hello {{ name|upper }}', name=name))
reply = app.test_client().get('/you')
result = reply.status_code, reply.get_json()
""",
    "sqlalchemy": """
from sqlalchemy import Column, Integer, String, create_engine, func, select
from sqlalchemy.orm import Session, declarative_base
Base = declarative_base()
class Item(Base):
    __tablename__ = 'item'
    id = Column(Integer, primary_key=True)
    name = Column(String)
engine = create_engine('sqlite://')
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all([Item(name=name) for name in 'abc'])
    session.commit()
    result = session.scalar(select(func.count(Item.id))), session.scalars(select(Item.name)).all()
""",
    "django": """
import django
from django.conf import settings
settings.configure(
    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}},
    INSTALLED_APPS=['django.contrib.contenttypes', 'django.contrib.auth'],
    DEFAULT_AUTO_FIELD='django.db.models.AutoField',
    USE_I18N=False,
)
django.setup()
import io
from django.core.management import call_command
output = io.StringIO()
call_command('check', stdout=output)
from django.contrib.auth.models import User
from django.db import connection
with connection.schema_editor() as editor:
    editor.create_model(User)
User.objects.create(username='somebody')
result = output.getvalue().strip(), list(User.objects.values_list('username', flat=True))
""",
    "rich": """
import io
from rich.console import Console
from rich.table import Table
table = Table('name', 'value')
table.add_row('answer', '42')
console = Console(file=io.StringIO(), width=30)
console.print(table)
result = console.file.getvalue()
""",
    "requests": """
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        self.wfile.write(b'{"path": "%s"}' % self.path.encode())
    def log_message(self, *arguments):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
import requests
session = requests.Session()
session.trust_env = False
result = session.get(f'http://127.0.0.1:{server.server_port}/x', params={'a': 1}).json()
server.shutdown()
""",
    "numpy": """
import numpy
result = (numpy.arange(6).reshape(2, 3) @ numpy.ones((3, 1))).tolist()
""",
    "pandas": """
import pandas
frame = pandas.DataFrame({'key': ['a', 'b', 'a'], 'value': [1, 2, 3]})
result = frame.groupby('key')['value'].sum().to_dict()
""",
}

DISTRIBUTIONS = ["Flask", "SQLAlchemy", "Django", "rich", "requests", "numpy", "pandas"]


@dataclass(frozen=True)
class Outcome:
    result: str
    served: int
    from_library: int


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment.create(tmp_path_factory.mktemp("libraries"), DISTRIBUTIONS)
    asked = [f"--distribution={name}" for name in DISTRIBUTIONS]
    environment.freeze("--stdlib", "--with-dependencies", "--extensions=embed", *asked)
    return environment


@pytest.fixture
def without_packages(environment: Environment) -> Iterator[Environment]:
    environment.move_packages_away()
    yield environment
    environment.bring_packages_back()


def run(environment: Environment, name: str, mode: str | None) -> Outcome:
    install = "served = lambda: 0\nloaders = ()"
    if mode is not None:
        install = f"""
import frozenfinder
finder = frozenfinder.install({str(environment.registry)!r}, mode={mode!r})
served = lambda: finder.served
loaders = frozenfinder.FrozenLoader, frozenfinder.ClosedLoader
"""
    code = f"""
import sys
{install}
{JOBS[name]}
mine = [m for n, m in sys.modules.items() if n.partition('.')[0] == {name!r}]
print(repr((repr(result), served(), sum(isinstance(m.__loader__, loaders) for m in mine))))
"""
    return Outcome(*eval(environment.run("-c", code)))


@pytest.mark.xdist_group("libraries")
@pytest.mark.parametrize("name", JOBS)
def test_a_library_does_its_job_in_overlay(name: str, environment: Environment) -> None:
    stock, ours = run(environment, name, None), run(environment, name, "overlay")
    assert ours.result == stock.result
    assert ours.served >= ours.from_library > 0


@pytest.mark.xdist_group("libraries")
@pytest.mark.parametrize("name", JOBS)
def test_a_library_does_its_job_in_closed_mode_without_site_packages(
    name: str, environment: Environment, without_packages: Environment
) -> None:
    environment.bring_packages_back()
    stock = run(environment, name, None)
    environment.move_packages_away()
    ours = run(without_packages, name, "closed")
    assert ours.result == stock.result
    assert ours.served >= ours.from_library > 0
