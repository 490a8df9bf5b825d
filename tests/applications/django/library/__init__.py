"""An application with models, migrations, templates, static files and a translation."""
