"""A Django project of one application and the administration."""
