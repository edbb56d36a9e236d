"""Tables of prompts, with commas, tabs or semicolons: every cell as it was typed, or a refusal."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from ..errors import ConfigurationError
from ._rows import column_name

__all__ = ["NumberedRows", "is_table", "read_table"]

NumberedRows: TypeAlias = Iterator[tuple[str, object]]
"""Rows as a file has them, each with the place where it stands."""
ParsedRecord: TypeAlias = tuple[int, int, list[str]]
"""The first and the last line of a row, and its cells."""
_DELIMITERS: Final = ",;\t|"
_SEP_LINE: Final = re.compile(r'"?sep=(\\t|.)"?[ \t;,]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
"""The line with which Excel is told what parts the cells."""
_PHYSICAL_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$")
_QUOTED_CELL: Final = re.compile(r'"(?:[^"]|"")*"')
_COLUMN_NAME: Final = re.compile(r"[^\W\d]\w*")
_MAX_WORDS_IN_NAME: Final = 3
_RULER_LINE: Final = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
"""The line under the head of a table in Markdown."""


def is_table(text: str) -> bool:
    """Whether text is plainly a table: by the names of its columns, a rule or tabs in each line.

    Prompts have commas of their own, so that commas alone prove nothing.
    """
    if _SEP_LINE.match(text):
        return True
    lines = [line.strip() for line in _split_lines(text)]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) < 2:
        return False
    if "|" in lines[0] and _RULER_LINE.fullmatch(lines[1]):
        return True
    return any(_is_delimited(lines, delimiter) for delimiter in _DELIMITERS)


def _is_delimited(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a sign parts the cells of every line, below a head that looks like one."""
    head = [cell.strip(' "').casefold() for cell in lines[0].split(delimiter)]
    if "prompt" in head and all(len(cell.split()) <= _MAX_WORDS_IN_NAME for cell in head):
        return True
    counts = {line.count(delimiter) for line in lines}
    is_regular = len(counts) == 1 and counts != {0}
    return is_regular and (
        delimiter == "\t" or (delimiter != "," and all(map(_COLUMN_NAME.fullmatch, head)))
    )


def read_table(text: str, name: str, delimiter: str) -> NumberedRows:
    """Read a table whose first line names the columns.

    Args:
        text: All of it.
        name: What to call the file in messages.
        delimiter: What parts its cells, unless its first line says or shows another sign.

    Raises:
        ConfigurationError: A row has too many cells or too few, or a quote is not closed: the next
            rows would become part of its cell.
    """
    lines = _split_lines(text)
    sep_match = _SEP_LINE.match(text)
    if sep_match:
        delimiter = "\t" if sep_match[1] == "\\t" else sep_match[1]
    start = 1 if sep_match else 0
    while start < len(lines) and not lines[start].strip(f"{delimiter} \r\n\t"):
        start += 1
    if start == len(lines):
        return
    delimiter = delimiter if sep_match else _describe_header(lines[start], delimiter)
    is_tabbed = delimiter == "\t"
    records = (
        _parse_tabs(lines, start, name)
        if is_tabbed
        else _parse_quoted(lines, start, delimiter, name)
    )
    number, _, header = next(records)
    header = [column_name(cell) for cell in header]
    _check_header(header, name, number)
    for number, end, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            message = (
                f"{name}, line {number}: this row does not have as many cells as the header "
                f"({len(cells)}, not {len(header)}). A cell with {delimiter!r} in it needs "
                "quotes around it."
            )
            raise ConfigurationError(message)
        place = f"line {number}" if end == number else f"lines {number}-{end}"
        yield place, dict(zip(header, cells, strict=True))


def _split_lines(text: str) -> list[str]:
    """The lines with their ends; what Unicode calls a line separator parts none."""
    return _PHYSICAL_LINE.findall(text)


def _describe_header(header: str, expected: str) -> str:
    """What parts the cells: the expected sign, or the only one that makes sense of the header."""
    cells = {
        one: [column_name(cell.strip(' "\r\n')) for cell in header.split(one)]
        for one in _DELIMITERS
    }
    with_prompt = [one for one, names in cells.items() if len(names) > 1 and "prompt" in names]
    candidates = with_prompt or [one for one, names in cells.items() if len(names) > 1]
    return candidates[0] if expected not in candidates and len(candidates) == 1 else expected


def _check_header(header: Sequence[str], name: str, line: int) -> None:
    duplicates = [cell for cell in header if cell and header.count(cell) > 1]
    if duplicates:
        message = f"{name}, line {line}: there are several columns called {duplicates[0]!r}."
        raise ConfigurationError(message)


def _parse_quoted(
    lines: Sequence[str], start: int, delimiter: str, name: str
) -> Iterator[ParsedRecord]:
    """Each record of a table with commas or the like.

    Raises:
        ConfigurationError: A quote is not closed, or closes in the middle of a cell.
    """
    reader = csv.reader(
        islice(lines, start, None), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    while True:
        number = start + reader.line_num + 1
        try:
            cells = next(reader)
            yield number, start + reader.line_num, cells
        except StopIteration:
            return
        except csv.Error as error:
            message = (
                f"{name}, line {number}: a cell of this row begins with a quote that does not end "
                f"it ({error}). Take the quote away, or put quotes around the whole cell and "
                'double those within it: """Open"" sign, in rain".'
            )
            raise ConfigurationError(message) from error


def _parse_tabs(lines: Sequence[str], start: int, name: str) -> Iterator[ParsedRecord]:
    """Each record of a table with tabs, where a quote is a sign like others unless it has its pair.

    Raises:
        ConfigurationError: A quote has a pair in a later line, but need not have.
    """
    index, width = start, 0
    while index < len(lines):
        cells, line_count = _unquote_line(lines[index]), 1
        if any(cell.startswith('"') and not _QUOTED_CELL.fullmatch(cell) for cell in cells):
            multiline = _join_multiline(lines, index, width, name)
            cells, line_count = multiline or (cells, 1)
        yield index + 1, index + line_count, [_unquote(cell) for cell in cells]
        width = width or len(cells)
        index += line_count


def _unquote_line(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _unquote(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED_CELL.fullmatch(cell) else cell


def _join_multiline(
    lines: Sequence[str], start: int, width: int, name: str
) -> tuple[list[str], int] | None:
    """A record with a quoted cell that goes on in the next lines, and how many it takes.

    None where there is no such record.

    Raises:
        ConfigurationError: Every line of it could be a row by itself.
    """
    reader = csv.reader(islice(lines, start, None), delimiter="\t", strict=True)
    try:
        cells = next(reader)
    except csv.Error:
        return None
    line_count = reader.line_num
    if width and len(cells) != width:
        return None
    if (
        width > 1
        and line_count > 1
        and all(len(_unquote_line(line)) == width for line in lines[start : start + line_count])
    ):
        message = (
            f"{name}, line {start + 1}: a cell of this row begins with a quote, and one in line "
            f"{start + line_count} could end it. Double quotes that are signs of their own, within "
            "quotes around the whole cell."
        )
        raise ConfigurationError(message)
    return cells, line_count
