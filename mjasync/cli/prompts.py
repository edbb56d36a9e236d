"""The prompts of a batch: a file of them, and where their pictures go."""

from __future__ import annotations

import codecs
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError
from .words import file_name

__all__ = ["check_picture", "check_target", "make_folder", "read_prompts", "targets"]

_ENCODINGS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""By the mark a text begins with; UTF-8 without one."""
_TEMPLATE_FIELDS: Final = ("id", "action", "prompt", "state")


def read_prompts(file: str) -> list[str]:
    """The prompts of a file, one a line; `-` is stdin. Blank lines and `#` comments are none.

    Raises:
        ConfigurationError: It cannot be read, is no text, or holds no prompt.
    """
    name = "stdin" if file == "-" else repr(file)
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        message = f"The prompts {name} cannot be read: {error.strerror or error}."
        raise ConfigurationError(message) from error
    lines = (line.strip() for line in _decode(data, name).splitlines())
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        message = f"There is no prompt in {name}: write one on each line."
        raise ConfigurationError(message)
    return prompts


def _decode(data: bytes, name: str) -> str:
    encoding = next((way for mark, way in _ENCODINGS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"The prompts {name} are not UTF-8 text (line {line}): save them as UTF-8."
        raise ConfigurationError(message) from error


# --- where pictures go -------------------------------------------------------------------------


def targets(folder: Path, prompts: Iterable[str]) -> list[str]:
    """A place for the picture of each prompt, as `Task.save` takes it; nothing is overwritten."""
    taken = {path.stem.casefold() for path in folder.iterdir()}
    escaped = str(folder).replace("{", "{{").replace("}", "}}")
    return [
        str(Path(escaped) / f"{_free(file_name(number, prompt), taken)}.{{ext}}")
        for number, prompt in enumerate(prompts, 1)
    ]


def _free(name: str, taken: set[str]) -> str:
    """`name`, or `name-2`, `name-3`… where it is taken."""
    free, again = name, 1
    while free.casefold() in taken:
        again += 1
        free = f"{name}-{again}"
    return free


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


def check_picture(picture: str | None) -> None:
    """See that a picture given as a path is there.

    Raises:
        ConfigurationError: There is no such file.
    """
    if picture is None or picture.startswith(("http://", "https://", "data:")):
        return
    if not Path(picture).is_file():
        message = f"There is no picture {picture!r}."
        raise ConfigurationError(message)
