"""The prompts that were added to a batch, and the jobs that they ask for."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ._jobs import Job
from ._planning import plan_jobs
from ._rows import InputRow, check_source, parse_row, template_fields

PromptInput: TypeAlias = str | Mapping[str, object] | InputRow
"""A prompt, or a row: a mapping with a `prompt`, or with the values of a template."""
PromptSource: TypeAlias = PromptInput | Iterable[PromptInput] | AsyncIterable[PromptInput]
_PLANNING_CHUNK: Final = 500


class PromptSources:
    """Sources of prompts, which are read when the batch runs or is counted."""

    def __init__(self, steps: Sequence[str], used_columns: Iterable[str], repeat: int) -> None:
        self._steps = steps
        self._fixed_columns = {"bot", *used_columns}
        self._fixed_columns |= {name for step in steps for name in template_fields(step)}
        self.repeat = repeat
        """How often each prompt is drawn by default."""
        self._sources: list[tuple[Any, str | None, int]] = []
        self._columns: set[str] = set()
        self._used_columns: set[str] = set()
        self.duplicates = 0
        """How many rows ask for what earlier rows ask for."""
        self.requested_keys: set[str] = set()
        """The keys of all jobs that were asked for so far."""

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """The columns of the rows that nothing uses except the manifest."""
        return tuple(sorted(self._columns - self._used_columns))

    def add(self, prompts: PromptSource, template: str | None, repeat: int) -> None:
        """Add a prompt, a row, or any iterable of them."""
        check_source(prompts)
        self._sources.append((prompts, template, repeat or self.repeat))

    def clear(self) -> None:
        """Remove all sources."""
        self._sources = []

    async def buffer(self) -> None:
        """Read every source into a list: some can be read only once."""
        for index, (source, template, repeat) in enumerate(self._sources):
            self._sources[index] = ([item async for item in _iterate(source)], template, repeat)

    async def jobs(self) -> AsyncIterator[list[Job]]:
        """Yield the jobs that the sources ask for, in chunks.

        Raises:
            MJError: A row is not valid.
        """
        chunk: list[Job] = []
        seen_keys: set[str] = set()
        if self._sources:
            self.duplicates, self._columns = 0, set()
            self._used_columns = set(self._fixed_columns)
        for source, template, repeat in self._sources:
            async for item in _iterate(source):
                row = parse_row(item, template, repeat)
                self._columns |= row.variables.keys()
                self._used_columns |= row.template_fields
                jobs = [*plan_jobs(row, self._steps)]
                keys = {job.key for job in jobs}
                self.duplicates += keys <= seen_keys
                seen_keys |= keys
                chunk += jobs
                if len(chunk) >= _PLANNING_CHUNK:
                    yield chunk
                    chunk = []
        yield chunk
        self.requested_keys |= seen_keys


async def _iterate(source: PromptSource) -> AsyncIterator[object]:
    if isinstance(source, str | InputRow | Mapping):
        yield source
    elif isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item
