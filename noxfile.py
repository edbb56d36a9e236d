"""The gates of the project: `nox -l` lists them, `nox -s tests` is the first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    "tests",
    "minimum",
    "lint",
    "typing",
    "slotscheck",
    "docs",
    "build",
    "gallery",
    "fork",
]

# The tests start hundreds of processes, which had better not compile all they import.
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
WORKERS = str(2 * (os.cpu_count() or 1))
"""Processes that run tests: many tests wait for processes of their own."""


def runs(version: str) -> bool:
    """Whether this Python really runs: a pyenv shim can be on PATH and still fail."""
    if version == CURRENT:
        return True
    found = shutil.which(f"python{version}")
    return found is not None and not subprocess.call(
        [found, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def select_pyenv_versions(minors: list[str]) -> None:
    """Let pyenv's shims run the newest installed release of each minor version.

    pyenv puts a command for every version on PATH, but only the selected versions run.
    """
    if os.environ.get("PYENV_VERSION") or shutil.which("pyenv") is None:
        return
    listed = subprocess.run(
        ["pyenv", "versions", "--bare"], stdout=subprocess.PIPE, check=False, text=True
    ).stdout.split()
    releases = [name for name in listed if all(part.isdigit() for part in name.split("."))]
    releases.sort(key=lambda name: [*map(int, name.split("."))], reverse=True)
    newest = [next((r for r in releases if r.startswith(f"{minor}.")), None) for minor in minors]
    if any(newest):
        os.environ["PYENV_VERSION"] = ":".join(filter(None, newest))


SUPPORTED = nox.project.python_versions(PYPROJECT)
select_pyenv_versions(SUPPORTED)
PYTHONS = [version for version in SUPPORTED if runs(version)] or [CURRENT]
ABSENT = [version for version in SUPPORTED if version not in PYTHONS]


FRONT_ENDS = ("nginx", "varnishd", "haproxy")
"""The reverse proxies that tests/test_front_ends.py runs, Envoy aside: that one is a wheel."""


def is_installed(program: str) -> bool:
    """Whether a program is there; daemons are in a folder that PATH may lack."""
    return shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin") is not None


def group(*names: str) -> list[str]:
    """Return the requirements of some dependency groups of pyproject.toml."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def install_debian(session: nox.Session, *packages: str, found: bool) -> None:
    """Have programs that some tests want, where Debian's can be installed.

    It never fails: the tests that go without are skipped, and say so.
    """
    is_root = getattr(os, "geteuid", lambda: 1)() == 0
    if found or not is_root or not shutil.which("apt-get"):
        return
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "--yes")
    for command in (["update"], ["install", "--no-install-recommends", *packages]):
        session.run(*apt, *command, env=env, external=True, success_codes=range(256), silent=True)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the suite; on the first interpreter, with branch coverage."""
    session.install("-e", ".[all]", *group("tests"))
    servers = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    install_debian(session, "postgresql", found=any(servers))
    front_ends = ("nginx-light", "varnish", "haproxy", "gcc", "libc6-dev")
    install_debian(session, *front_ends, found=all(map(is_installed, FRONT_ENDS)))
    # asyncio's debug mode (on in pyproject.toml) and coverage are slow: each has its interpreter
    plain = [] if session.python == PYTHONS[-1] else ["-o", "asyncio_debug=0"]
    if session.posargs or session.python != PYTHONS[0]:
        session.run("python", "-m", "pytest", *(session.posargs or ["-n", WORKERS, *plain]))
        return
    if ABSENT:
        session.warn(f"Not found on this machine, skipped: Python {', '.join(ABSENT)}")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-n", WORKERS, *plain)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=PYTHONS[:1])
def minimum(session: nox.Session) -> None:
    """Run the fast tests with the lowest versions that pyproject.toml allows."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in extras if name != "all")]
    lowest = {requirement.replace(">=", "==") for names in groups for requirement in names}
    session.install("-e", ".[all]", *sorted(lowest), *group("tests"))
    how = session.posargs or ["-m", "not slow", "-n", WORKERS, "-o", "asyncio_debug=0"]
    session.run("python", "-m", "pytest", *how)


@nox.session
def coverage(session: nox.Session) -> None:
    """Write what the last `tests` measured to htmlcov/index.html."""
    session.install(*group("tests"))
    session.run("coverage", "html")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, and that the changelog fragments make a changelog."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run(
        "towncrier", "build", "--draft", "--version", PYPROJECT["project"]["version"], silent=True
    )


@nox.session
def typing(session: nox.Session) -> None:
    """Type-check the package, its published types, and how callers see them."""
    session.install("-e", ".[all]", *group("typing"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "mjasync", "--ignoreexternal")


@nox.session
def slotscheck(session: nox.Session) -> None:
    """Check that every class that should have slots has them all the way up."""
    session.install("-e", ".[all]", *group("slotscheck"))
    session.run("python", "-m", "slotscheck", "-m", "mjasync")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; its Python blocks are run by tests/test_docs.py."""
    session.install("-e", ".[all]", *group("docs"))
    session.run(
        "sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"
    )


@nox.session
def conformance(session: nox.Session) -> None:
    """Play every story on every server, and write docs/conformance.md."""
    session.install("-e", ".[all]", *group("tests"))
    session.run("python", "tests/conformance.py")


@nox.session
def soak(session: nox.Session) -> None:
    """Set fire to batches at length: a hundred deaths, ten thousand prompts; takes minutes."""
    session.install("-e", ".[all]", *group("tests"))
    session.run("python", "tests/soak.py", *session.posargs)


@nox.session
def gallery(session: nox.Session) -> None:
    """Test the gallery of a batch in Debian's Chromium; with `-- -s`, print how fast it opens."""
    session.install("-e", ".[all]", *group("tests", "browser"))
    install_debian(session, "chromium", found=bool(shutil.which("chromium")))
    how = session.posargs or ["-n", WORKERS]
    session.run("python", "-m", "pytest", "tests/test_gallery_browser.py", *how)


@nox.session
def screenshot(session: nox.Session) -> None:
    """Draw docs/_static/gallery.webp again, from a batch on the simulator."""
    session.install("-e", ".[all]", *group("tests", "browser"))
    install_debian(session, "chromium", found=bool(shutil.which("chromium")))
    session.run("python", "tests/screenshot.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything (or what follows --) against the same by hand; `-- --docs` writes it."""
    session.install("-e", ".[all]", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(reuse_venv=False)
def build(session: nox.Session) -> None:
    """Build sdist and wheel, install the wheel, and use it as a stranger would."""
    out = Path(session.create_tmp()) / "dist"
    session.install("build")
    session.run("python", "-m", "build", "--outdir", str(out), silent=True)
    (wheel,) = out.glob("*.whl")
    session.install(f"mjasync[all] @ {wheel.resolve().as_uri()}")
    with session.chdir(out):
        session.run("python", "-P", str(ROOT / "tests" / "wheel_smoke.py"))


@nox.session(venv_backend="virtualenv")
def fork(session: nox.Session) -> None:
    """Run the suite with python-backoff, the maintained fork, in place of backoff."""
    session.install("-e", ".[all]", *group("tests"))
    session.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", "backoff")
    session.install("--force-reinstall", "--no-deps", "python-backoff")
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", WORKERS]))
