"""Django's own makemigrations, which detects changes of maintained views, too."""

from django.core.management.commands.makemigrations import Command as Makemigrations

from pg_stepping.django.autodetector import Autodetector


class Command(Makemigrations):
    autodetector = Autodetector
