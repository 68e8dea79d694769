"""What is installed, by pip or by make, is whole: it brings its SQL, and makes the same catalog."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]

INIT = """
import sys, psycopg, pg_stepping
with psycopg.connect(sys.argv[1]) as conn:
    pg_stepping.init(conn)
print(pg_stepping.__file__)
"""

CATALOG = {
    "schema": """
        SELECT n.nspacl::text, obj_description(n.oid, 'pg_namespace')
        FROM pg_namespace n WHERE n.oid = 'stepping'::regnamespace""",
    "columns": """
        SELECT c.relname, c.relkind, c.relacl::text, obj_description(c.oid, 'pg_class'), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
               pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'stepping'::regnamespace
        ORDER BY c.relname, a.attnum""",
    "views": """
        SELECT viewname, definition FROM pg_views WHERE schemaname = 'stepping' ORDER BY viewname""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'stepping'::regnamespace ORDER BY 1, 2""",
    "indexes": """
        SELECT indexdef FROM pg_indexes WHERE schemaname = 'stepping' ORDER BY indexdef""",
    "functions": """
        SELECT pg_get_functiondef(oid), proacl::text, obj_description(oid, 'pg_proc')
        FROM pg_proc WHERE pronamespace = 'stepping'::regnamespace AND prokind IN ('f', 'p') ORDER BY 1""",
    "aggregates": """
        SELECT p.oid::regprocedure::text, a.aggtransfn::text, a.aggfinalfn::text, p.proacl::text
        FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid
        WHERE p.pronamespace = 'stepping'::regnamespace ORDER BY 1""",
    "types": """
        SELECT typname, typtype FROM pg_type WHERE typnamespace = 'stepping'::regnamespace ORDER BY 1""",
    "triggers": """
        SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'stepping'::regnamespace AND NOT t.tgisinternal ORDER BY 1""",
    "event triggers": """
        SELECT evtname, evtevent, evttags, evtfoid::regproc::text, evtenabled FROM pg_event_trigger ORDER BY 1""",
}


def catalog(dsn):
    with psycopg.connect(dsn) as conn:
        return {kind: conn.execute(query).fetchall() for kind, query in CATALOG.items()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder)
    return folder


def run(*command):
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_what_postgres_reads(dist):
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {"sql": "_sql", "plpython": "_plpython"}
    expected = {
        f"pg_stepping/{inside}/{path.relative_to(ROOT / folder)}"
        for folder, inside in shipped.items()
        for path in (ROOT / folder).rglob("*.*")
        if "__pycache__" not in path.parts and not path.name.startswith("pg_stepping--")
    }
    assert expected <= names
    assert {name.split("/")[1] for name in expected} == set(shipped.values())


@pytest.mark.parametrize("how", ["wheel", "sdist", "editable"])
def test_pip_installs_a_working_package(how, dist, database, tmp_path):
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    # The libraries we need come from the environment of this test; pg_stepping itself does not.
    (site_packages,) = environment.glob("lib/*/site-packages")
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    what = {"wheel": dist.glob("*.whl"), "sdist": dist.glob("*.tar.gz"), "editable": ["--editable=."]}[how]
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    run(*pip, "--no-deps", "--no-build-isolation", "--ignore-installed", *what)

    imported = run(python, "-P", "-c", INIT, database())
    home = ROOT / "generator" if how == "editable" else site_packages
    assert imported.strip() == str(home / "pg_stepping" / "__init__.py")


def test_create_extension_makes_the_catalog_that_init_makes(server, language, dsn, database):
    with psycopg.connect(server.dsn) as conn:
        (share,) = conn.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").fetchone()
    if server.cluster is None or not os.access(f"{share}/extension", os.W_OK):
        pytest.skip("make install must write to the folder of a server on this machine: that takes root")
    run("make", "install", f"SHAREDIR={share}")

    extended = database()
    with psycopg.connect(extended) as conn:
        if language == "plpython3u":
            conn.execute("CREATE EXTENSION plpython3u")
        conn.execute("CREATE EXTENSION pg_stepping")
    assert catalog(extended) == catalog(dsn)
