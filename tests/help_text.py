"""What the command line says of itself, asked of the app; run to store it with the package."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from mjasync.cli import _help
from mjasync.cli.app import app

STORED = Path(_help.__file__).with_name("help.txt")


def asked() -> str:
    """Every help page and the version, as `help.txt` stores them."""
    commands = sorted(name for name in app if not name.startswith("-"))
    pages = {"--help": _help_of(), "--version": _version()}
    pages |= {f"{command} --help": _help_of(command) for command in commands}
    return "".join(f"\f{words}\n{text}" for words, text in pages.items())


def _help_of(*words: str) -> str:
    console = _console()
    app.help_print(words, console=console)
    return _printed(console)


def _version() -> str:
    console = _console()
    app.version_print(console=console)
    return _printed(console)


def _console() -> Console:
    """A terminal of the usual kind, whatever this one is."""
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        width=_help.WIDTH,
        legacy_windows=False,
        _environ={},
    )


def _printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


if __name__ == "__main__":
    STORED.write_text(asked(), "utf-8", newline="\n")
