"""Paths on the command line: what is seen to before anything is paid."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError

__all__ = [
    "check_image",
    "check_target",
    "is_simulated",
    "load_resume_command",
    "make_folder",
    "mark_simulated",
    "save_resume_command",
]

_SIMULATED_MARKER: Final = ".simulated"
_COMMAND_FILE: Final = ".command"
_URL: Final = re.compile(r"\s*(https?://|data:)", re.IGNORECASE)
_TEMPLATE_FIELDS: Final = ("id", "action", "prompt", "state")


def make_folder(folder: Path) -> None:
    """Make a folder, and see that it can be written to before anything is paid.

    Raises:
        ConfigurationError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"Pictures cannot be written to {str(folder)!r}: {error.strerror or error}."
        raise ConfigurationError(message) from error


def is_simulated(folder: Path) -> bool:
    """Whether the pictures of a folder are a simulator's."""
    return (folder / _SIMULATED_MARKER).exists()


def mark_simulated(folder: Path) -> None:
    """Have them be taken for that."""
    (folder / _SIMULATED_MARKER).touch()


def save_resume_command(folder: Path, command: str) -> None:
    """Note the command that goes on with the batch of a folder; it can do without.

    Nobody else may read it, and what a link of that name points to is left alone.
    """
    with contextlib.suppress(OSError):
        number, new = tempfile.mkstemp(prefix=_COMMAND_FILE, dir=folder)  # of mode 0600
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(f"{command}\n")
        Path(new).replace(folder / _COMMAND_FILE)


def load_resume_command(folder: Path) -> str | None:
    """The command that goes on with the batch of a folder, if it was noted."""
    try:
        return (folder / _COMMAND_FILE).read_text("utf-8").strip() or None
    except (OSError, ValueError):
        return None


def check_target(save: str | None, *, several: bool = False) -> None:
    """See that `--save PATH` can work before anything is paid.

    Raises:
        ConfigurationError: It cannot be written to, is no template that works, or would give
            several pictures the same name.
    """
    if save is None:
        return
    is_folder = save.endswith(("/", os.sep)) or Path(save).is_dir()
    if several and not is_folder and len({_filled(save, mark) for mark in "ab"}) == 1:
        message = f"--save {save!r} would save every picture under one name: name a folder/."
        raise ConfigurationError(message)
    if not is_folder:
        _filled(save, "a")
    folder = Path(save) if is_folder else Path(save).parent
    while "{" in str(folder):
        folder = folder.parent
    make_folder(folder)


def _filled(save: str, mark: str) -> str:
    """A template filled in; a name without fields is itself."""
    if "{" not in save:
        return save
    try:
        return save.format(**dict.fromkeys(_TEMPLATE_FIELDS, mark), ext="png")
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        fields = ", ".join(f"{{{name}}}" for name in (*_TEMPLATE_FIELDS, "ext"))
        message = f"--save {save!r} does not work ({error}); it may use {fields}."
        raise ConfigurationError(message) from error


def check_image(picture: str | None) -> None:
    """See that a picture given as a path is there.

    Raises:
        ConfigurationError: There is no such file.
    """
    if picture is not None and not _URL.match(picture) and not Path(picture).is_file():
        message = f"There is no picture {picture!r}."
        raise ConfigurationError(message)
