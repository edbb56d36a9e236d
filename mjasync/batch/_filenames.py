"""What a job's files are called: safe on every system, whatever a prompt or a server says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from .._safe_filename import MAX_NAME_LENGTH, safe_filename
from ..errors import ConfigurationError
from ._jobs import FUNCTION_STEP, Job
from ._steps import split_steps

__all__ = ["DEFAULT_NAME", "Filenames"]

DEFAULT_NAME: Final = "{n:04}-{slug}-{seed}-{task_id}{step}.{ext}"
_MAX_SLUG_LENGTH: Final = 40
"""Characters of a prompt in a name."""
_LINKS_AND_FLAGS: Final = re.compile(r"https?://\S+|\s--\S.*|^--\S.*", re.DOTALL)
"""Links and flags."""
_RESERVED_NAMES: Final = frozenset({"ledger", "manifest"})


class Filenames:
    """Gives each file a name of its own: the same one whenever it is asked again."""

    def __init__(self, template: str) -> None:
        """Check the template.

        Raises:
            ConfigurationError: It does not work, or leads out of the folder.
        """
        self._template = template
        self._owners: dict[str, tuple[str, int | None]] = {}
        parts = template.split("/")
        if "\\" in template or ".." in parts or PurePosixPath(template).is_absolute():
            message = f"The name {template!r} must stay in the batch's folder."
            raise ConfigurationError(message)
        if not template.endswith(".{ext}"):
            message = f"The name {template!r} must end with '.{{ext}}'."
            raise ConfigurationError(message)

    @property
    def fields(self) -> frozenset[str]:
        """The names of what goes into a file's name."""
        return frozenset(re.findall(r"\{(\w[^{}!:.\[]*)", self._template))

    @property
    def are_unique(self) -> bool:
        """Whether no two jobs can get the same name."""
        return bool(re.search(r"\{(key|task_id)\b", self._template))

    def check(self, job: Job) -> None:
        """See that a job's files can be named, before it is paid for.

        Raises:
            ConfigurationError: The template names an unknown field.
        """
        self._fill(self._template.removesuffix(".{ext}"), _template_values(job, None))

    def reserve(self, job: Job) -> None:
        """Take note of the names a job has already."""
        for number, file in enumerate(job.files, 1):
            part = number if len(job.files) > 1 else None
            self._owners[file.path.casefold()] = (job.key, part)

    def for_job(
        self, job: Job, part: int | None, extension: str, *, force_unique: bool = False
    ) -> str:
        """The path of a file, relative to the folder; `part` is its number where there are four.

        `force_unique` is for a name that no other file can have, whatever the template leaves out.

        Raises:
            ConfigurationError: The template names an unknown field.
        """
        fields = _template_values(job, part)
        stems = self._template.removesuffix(".{ext}").split("/")
        filled = [self._fill(piece, fields) for piece in stems]
        *folders, stem = (re.sub(r"-{2,}", "-", safe_filename(piece)) for piece in filled)
        if stem.casefold() in _RESERVED_NAMES:
            stem = f"_{stem}"
        unique = f"{stem}-{job.key}" if part is None else f"{stem}-{job.key}-{part}"
        is_cut = any(len(piece.encode("utf-8", "replace")) > MAX_NAME_LENGTH for piece in filled)
        for candidate in (unique if force_unique or is_cut else stem, unique):
            path = "/".join([*folders, f"{candidate}.{safe_filename(extension)}"])
            if self._owners.setdefault(path.casefold(), (job.key, part)) == (job.key, part):
                break
        return path

    def _fill(self, piece: str, fields: Mapping[str, object]) -> str:
        try:
            return piece.format_map(fields)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            available = ", ".join(f"{{{name}}}" for name in (*fields, "ext"))
            message = f"The name {self._template!r} does not work ({error}); there are {available}."
            raise ConfigurationError(message) from None


def _template_values(job: Job, part: int | None) -> dict[str, object]:
    steps = [one.removeprefix(FUNCTION_STEP) for one in split_steps(job.step) if one]
    if part is not None:
        steps.append(str(part))
    texts = {
        **job.variables,
        "slug": _slug(job.prompt),
        "seed": "" if job.seed is None else str(job.seed),
        "task_id": job.task_id or "",
        "key": job.key,
    }
    step = "".join(f"-{_slug(one)}" for one in steps)
    safe = {name: safe_filename(text) if text else "" for name, text in texts.items()}
    return {**safe, "n": job.number, "step": step}


def _slug(text: str) -> str:
    words = re.findall(r"\w+", _LINKS_AND_FLAGS.sub("", text).casefold())
    return "-".join(words)[:_MAX_SLUG_LENGTH].strip("-") or "untitled"
