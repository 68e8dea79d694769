"""Django's own migrate, which says so if changes of maintained views have no migration yet."""

from django.core.management.commands.migrate import Command as Migrate

from pg_stepping.django.autodetector import Autodetector


class Command(Migrate):
    autodetector = Autodetector
