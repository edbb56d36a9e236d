"""The names of a job's files: valid on every system, for any prompt and server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from .._safe_filename import MAX_NAME_LENGTH, safe_filename
from ..errors import ConfigurationError
from ._jobs import FUNCTION_STEP, Job
from ._steps import split_steps

DEFAULT_NAME: Final = "{n:04}-{slug}-{seed}-{task_id}{step}.{ext}"
_MAX_SLUG_LENGTH: Final = 40
_LINKS_AND_FLAGS: Final = re.compile(r"https?://\S+|\s--\S.*|^--\S.*", re.DOTALL)
_RESERVED_NAMES: Final = frozenset({"ledger", "manifest"})


class Filenames:
    """Unique names for files; a file has the same name in every run."""

    def __init__(self, template: str) -> None:
        """Check the template.

        Raises:
            ConfigurationError: It leads out of the folder, or has no extension.
        """
        self._template = template
        self._stem = template.removesuffix(".{ext}")
        self._owners: dict[str, tuple[str, int | None]] = {}
        parts = template.split("/")
        if "\\" in template or ".." in parts or PurePosixPath(template).is_absolute():
            raise ConfigurationError(f"The name {template!r} must stay in the batch's folder.")
        if not template.endswith(".{ext}"):
            raise ConfigurationError(f"The name {template!r} must end with '.{{ext}}'.")

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields in the template."""
        return frozenset(re.findall(r"\{(\w[^{}!:.\[]*)", self._template))

    @property
    def are_unique(self) -> bool:
        """Whether the template alone gives every job a different name."""
        return bool(re.search(r"\{(key|task_id)\b", self._template))

    def check(self, job: Job) -> None:
        """Check before a job is paid for that its files can be named.

        Raises:
            ConfigurationError: The template names an unknown field.
        """
        self._fill(self._stem, _template_values(job, None))

    def reserve(self, job: Job) -> None:
        """Reserve the names of a job's existing files."""
        for number, file in enumerate(job.files, 1):
            part = number if len(job.files) > 1 else None
            self._owners[file.path.casefold()] = (job.key, part)

    def for_job(
        self, job: Job, part: int | None, extension: str, *, force_unique: bool = False
    ) -> str:
        """Return the path of a file, relative to the folder.

        Args:
            job: The job of the file.
            part: The number of the file if the job has several.
            extension: The extension without a dot.
            force_unique: Add the key of the job, which no other file has in its name.

        Raises:
            ConfigurationError: The template names an unknown field.
        """
        fields = _template_values(job, part)
        filled = [self._fill(piece, fields) for piece in self._stem.split("/")]
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
    steps = [step.removeprefix(FUNCTION_STEP) for step in split_steps(job.step) if step]
    if part is not None:
        steps.append(str(part))
    texts = {
        **job.variables,
        "slug": _slug(job.prompt),
        "seed": "" if job.seed is None else str(job.seed),
        "task_id": job.task_id or "",
        "key": job.key,
    }
    suffix = "".join(f"-{_slug(step)}" for step in steps)
    safe = {name: safe_filename(text) if text else "" for name, text in texts.items()}
    return {**safe, "n": job.number, "step": suffix}


def _slug(text: str) -> str:
    parts = re.findall(r"\w+", _LINKS_AND_FLAGS.sub("", text).casefold())
    return "-".join(parts)[:_MAX_SLUG_LENGTH].strip("-") or "untitled"
