"""Checks of paths before anything is paid, and the marks of a batch in its folder."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError

_SIMULATED_MARKER: Final = ".simulated"
_COMMAND_FILE: Final = ".command"
_URL: Final = re.compile(r"\s*(https?://|data:)", re.IGNORECASE)
_TEMPLATE_FIELDS: Final = ("id", "action", "prompt", "state")


def make_folder(folder: Path) -> None:
    """Create a folder, and check that it is writable before anything is paid.

    Raises:
        ConfigurationError: It is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"Pictures cannot be written to {str(folder)!r}: {error.strerror or error}."
        raise ConfigurationError(message) from error


def is_simulated(folder: Path) -> bool:
    """Return whether a simulator drew the pictures of a folder."""
    return (folder / _SIMULATED_MARKER).exists()


def mark_simulated(folder: Path) -> None:
    """Mark a folder as one of simulated pictures."""
    (folder / _SIMULATED_MARKER).touch()


def save_resume_command(folder: Path, command: str) -> None:
    """Save the command that resumes the batch of a folder, if possible.

    Only the user can read the file. A symbolic link of its name is replaced, not followed.
    """
    with contextlib.suppress(OSError):
        number, new = tempfile.mkstemp(prefix=_COMMAND_FILE, dir=folder)  # of mode 0600
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(f"{command}\n")
        Path(new).replace(folder / _COMMAND_FILE)


def load_resume_command(folder: Path) -> str | None:
    """Return the command that resumes the batch of a folder; None if there is none."""
    try:
        return (folder / _COMMAND_FILE).read_text("utf-8").strip() or None
    except (OSError, ValueError):
        return None


def check_target(save: str | None, *, several: bool = False) -> None:
    """Check `--save PATH` before anything is paid.

    Raises:
        ConfigurationError: It is not writable, is not a valid template, or gives several pictures
            the same name.
    """
    if save is None:
        return
    is_folder = save.endswith(("/", os.sep)) or Path(save).is_dir()
    if several and not is_folder and len({_fill(save, value) for value in "ab"}) == 1:
        message = f"--save {save!r} would save every picture under one name: name a folder/."
        raise ConfigurationError(message)
    if not is_folder:
        _fill(save, "a")
    folder = Path(save) if is_folder else Path(save).parent
    while "{" in str(folder):
        folder = folder.parent
    make_folder(folder)


def _fill(save: str, value: str) -> str:
    """Fill in a template; a name without fields is unchanged."""
    if "{" not in save:
        return save
    try:
        return save.format(**dict.fromkeys(_TEMPLATE_FIELDS, value), ext="png")
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        fields = ", ".join(f"{{{name}}}" for name in (*_TEMPLATE_FIELDS, "ext"))
        message = f"--save {save!r} does not work ({error}); it may use {fields}."
        raise ConfigurationError(message) from error


def check_image(picture: str | None) -> None:
    """Check that a picture that is named by a path exists.

    Raises:
        ConfigurationError: There is no such file.
    """
    if picture is not None and not _URL.match(picture) and not Path(picture).is_file():
        message = f"There is no picture {picture!r}."
        raise ConfigurationError(message)
