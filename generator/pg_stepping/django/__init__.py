"""Django: maintained views in migrations, and `makemigrations` that writes these.

    INSTALLED_APPS = [..., "pg_stepping.django"]

The views are those of pyproject.toml (see pg_stepping.migrate.declared) in `settings.BASE_DIR` or above it;
`settings.PG_STEPPING` is another file, a Declaration or a list of Views. Each has an `app`, which gets its
migrations.
"""
