"""Check and migrate the project, and ask for its pages and static files."""

import os
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django
from django.core.management import call_command

django.setup()
call_command("check")
call_command("migrate", verbosity=0)
call_command("makemigrations", "--check", verbosity=0)

from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from library.models import Book

print(sorted(MigrationRecorder(connection).migration_qs.values_list("app", "name")))
Book.objects.create(title="Emma", pages=474)
client = Client()
for language in ("en", "de"):
    reply = client.get("/", headers={"accept-language": language})
    print(reply.status_code, reply.content.decode().strip())
client.force_login(User.objects.create_superuser("root"))
reply = client.get("/admin/library/book/", headers={"accept-language": "fr"})
print(reply.status_code, "Déconnexion" in reply.content.decode())
for name in ("library/library.css", "admin/css/base.css"):
    print(name, len(Path(finders.find(name)).read_text()) > 0)
