"""Real libraries do a real job from a registry of the stdlib and of them, in both modes.

The job runs in a fresh process of an environment of its own. In closed mode the environment's
site-packages directory is moved away first.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution

import pytest
from support.environments import Environment

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
    "pydantic": """
import pydantic
class Model(pydantic.BaseModel):
    number: int
try:
    Model.model_validate({'number': 'none'})
except pydantic.ValidationError as error:
    result = Model.model_validate({'number': '3'}), error.error_count()
""",
    "lxml": """
from lxml import etree
result = etree.fromstring('<a><b>1</b><b c="2"/></a>').xpath('//b[@c]/@c | //b/text()')
""",
    "cryptography": """
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
cipher = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16)))
encryptor, decryptor = cipher.encryptor(), cipher.decryptor()
secret = encryptor.update(b'a message') + encryptor.finalize()
result = secret, decryptor.update(secret) + decryptor.finalize()
""",
    "PIL": """
import io
from PIL import Image, features
names = ('freetype2', 'jpg', 'jpg_2000', 'libtiff', 'webp')
buffer = io.BytesIO()
Image.radial_gradient('L').resize((32, 16)).save(buffer, 'JPEG')
result = Image.open(buffer).size, [features.check(name) for name in names]
""",
}

DISTRIBUTIONS = [
    "Flask",
    "SQLAlchemy",
    "Django",
    "rich",
    "requests",
    "numpy",
    "pandas",
    "pydantic",
    "lxml",
    "cryptography",
    "pillow",
]

MORE_JOBS = {
    "scipy": """
import scipy.linalg, scipy.optimize, scipy.sparse.linalg, scipy.spatial, scipy.special
root = scipy.optimize.brentq(lambda x: x * x - 2, 0, 2)
result = round(root, 4), scipy.special.gamma(5), round(scipy.linalg.det([[1, 2], [3, 4]]), 4)
""",
    "pyarrow": """
import io, pyarrow, pyarrow.parquet
buffer = io.BytesIO()
pyarrow.parquet.write_table(pyarrow.table({'a': [1, 2, 3]}), buffer)
in_this_thread = {'use_threads': False, 'pre_buffer': False}
table = pyarrow.parquet.read_table(io.BytesIO(buffer.getvalue()), **in_this_thread)
result = table.to_pydict()
""",
    "zmq": """
import zmq
context = zmq.Context()
one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
one.bind('inproc://x')
other.connect('inproc://x')
one.send(b'hello')
result = other.recv()
context.destroy()
""",
    "shapely": """
import shapely
result = round(shapely.Point(0, 0).buffer(1).area, 2)
""",
    "psycopg2": """
import psycopg2
try:
    psycopg2.connect('host=127.0.0.1 port=1 connect_timeout=1')
except psycopg2.OperationalError as error:
    result = 'refused' in str(error)
""",
    "h5py": """
import h5py
with h5py.File('x.h5', 'w', driver='core', backing_store=False) as file:
    file['a'] = [1, 2]
    result = file['a'][:].tolist()
""",
}
"""What takes long to install, and is run where it is: in the tox environment `libraries`."""

MORE_DISTRIBUTIONS = {"zmq": "pyzmq", "psycopg2": "psycopg2-binary"}  # the others by their names
for name, job in MORE_JOBS.items():
    distribution = MORE_DISTRIBUTIONS.get(name, name)
    if any(Distribution.discover(name=distribution)):
        JOBS[name] = job
        DISTRIBUTIONS.append(distribution)


@dataclass(frozen=True)
class Outcome:
    result: str
    served: int
    from_library: int


@pytest.fixture(scope="module")
def environment(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment.create(tmp_path_factory.mktemp("libraries"), DISTRIBUTIONS)
    asked = [f"--distribution={name}" for name in DISTRIBUTIONS]
    environment.freeze("--stdlib", "--with-dependencies", "--extensions=embed", *asked)
    return environment


@pytest.fixture
def without_packages(environment: Environment) -> Iterator[Environment]:
    environment.move_packages_away()
    yield environment
    environment.bring_packages_back()


def run(environment: Environment, name: str, mode: str | None, cache: str | None = None) -> Outcome:
    install = "served = lambda: ()"
    if mode is not None:
        install = f"""
import frozenfinder
finder = frozenfinder.install({str(environment.registry)!r}, mode={mode!r})
served = lambda: finder._served
"""
    code = f"""
import os, sys
os.environ['FROZENFINDER_CACHE'] = {cache or ""!r}
{install}
{JOBS[name]}
mine = [n for n in served() if n.partition('.')[0] == {name!r}]
print(repr((repr(result), len(served()), len(mine))))
"""
    return Outcome(*eval(environment.run("-c", code)))


@pytest.mark.parametrize("name", JOBS)
def test_a_library_does_its_job_in_overlay(name: str, environment: Environment) -> None:
    stock, ours = run(environment, name, None), run(environment, name, "overlay")
    assert ours.result == stock.result
    assert ours.served >= ours.from_library > 0


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


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there are no files in memory here")
@pytest.mark.parametrize("name", ["numpy", "PIL"])
def test_a_library_does_its_job_without_a_directory_to_load_it_from(
    name: str, environment: Environment
) -> None:
    stock = run(environment, name, None)
    ours = run(environment, name, "closed", cache="/dev/null/cache")
    assert ours.result == stock.result
