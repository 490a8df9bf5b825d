"""The pages of the project."""

from django.contrib import admin
from django.urls import path
from library.views import index

urlpatterns = [path("", index), path("admin/", admin.site.urls)]
