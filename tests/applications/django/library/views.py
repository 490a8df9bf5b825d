"""The page with all books."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .models import Book


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "library/index.html", {"books": Book.objects.order_by("title")})
