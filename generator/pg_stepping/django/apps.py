"""The Django app: it brings `makemigrations`, and has no models."""

from django.apps import AppConfig


class PgSteppingConfig(AppConfig):
    name = "pg_stepping.django"
    label = "pg_stepping"
    verbose_name = "pg_stepping"
