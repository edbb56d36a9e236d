"""Tables of prompts with commas, tabs or semicolons: ambiguous cells are refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from ..errors import ConfigurationError
from ._rows import column_name

NumberedRows: TypeAlias = Iterator[tuple[str, object]]
"""The rows of a file, each with its place."""
ParsedRecord: TypeAlias = tuple[int, int, list[str]]
"""The first and the last line of a row, and its cells."""
_DELIMITERS: Final = ",;\t|"
_SEP_LINE: Final = re.compile(r'"?sep=(\\t|.)"?[ \t;,]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
"""The line that declares the delimiter to Excel."""
_PHYSICAL_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$")
_QUOTED_CELL: Final = re.compile(r'"(?:[^"]|"")*"')
_COLUMN_NAME: Final = re.compile(r"[^\W\d]\w*")
_MAX_WORDS_IN_NAME: Final = 3
_RULER_LINE: Final = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
"""The line below the header of a Markdown table."""


def is_table(text: str) -> bool:
    """Return whether text is evidently a table, by names of columns, a ruler, or delimiters.

    Prompts contain commas, so commas alone prove nothing.
    """
    if _SEP_LINE.match(text):
        return True
    lines = [line for line in map(str.strip, _split_lines(text)) if line and line[0] != "#"]
    if len(lines) < 2:
        return False
    if "|" in lines[0] and _RULER_LINE.fullmatch(lines[1]):
        return True
    return any(_is_delimited(lines, delimiter) for delimiter in _DELIMITERS)


def _is_delimited(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether a delimiter separates the cells of every line, below a likely header."""
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
        text: The content of the file.
        name: The name of the file for messages.
        delimiter: The expected delimiter; the first line may declare or show another one.

    Raises:
        ConfigurationError: A row has too many or too few cells, or a quote is not closed, so that
            the next rows would become part of its cell.
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
    delimiter = delimiter if sep_match else _find_delimiter(lines[start], delimiter)
    if delimiter == "\t":
        records = _parse_tabs(lines, start, name)
    else:
        records = _parse_quoted(lines, start, delimiter, name)
    number, _, cells = next(records)
    header = [column_name(cell) for cell in cells]
    duplicate = next((cell for cell in header if cell and header.count(cell) > 1), None)
    if duplicate:
        message = f"{name}, line {number}: there are several columns called {duplicate!r}."
        raise ConfigurationError(message)
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
    """Split text into lines with their ends; separators of Unicode belong to a line."""
    return _PHYSICAL_LINE.findall(text)


def _find_delimiter(header: str, expected: str) -> str:
    """Return the expected delimiter, unless the header makes sense only with another one."""
    candidates = [delimiter for delimiter in _DELIMITERS if delimiter in header]
    with_prompt = [
        delimiter
        for delimiter in candidates
        if "prompt" in (column_name(cell.strip(' "\r\n')) for cell in header.split(delimiter))
    ]
    candidates = with_prompt or candidates
    return candidates[0] if expected not in candidates and len(candidates) == 1 else expected


def _parse_quoted(
    lines: Sequence[str], start: int, delimiter: str, name: str
) -> Iterator[ParsedRecord]:
    """Yield the records of a table; raise ConfigurationError if a quote does not end its cell."""
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
    """Yield the records of a table with tabs, in which an unpaired quote is an ordinary character.

    Raises:
        ConfigurationError: It is ambiguous whether a quote is closed in a later line.
    """
    index, width = start, 0
    while index < len(lines):
        cells, line_count = _tabbed_cells(lines[index]), 1
        if any(cell.startswith('"') and not _QUOTED_CELL.fullmatch(cell) for cell in cells):
            multiline = _join_multiline(lines, index, width, name)
            cells, line_count = multiline or (cells, 1)
        yield index + 1, index + line_count, [_unquote(cell) for cell in cells]
        width = width or len(cells)
        index += line_count


def _tabbed_cells(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _unquote(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED_CELL.fullmatch(cell) else cell


def _join_multiline(
    lines: Sequence[str], start: int, width: int, name: str
) -> tuple[list[str], int] | None:
    """Return a record with a quoted cell of several lines, and their number; None if it has none.

    Raises:
        ConfigurationError: Each of its lines could be a row.
    """
    reader = csv.reader(islice(lines, start, None), delimiter="\t", strict=True)
    try:
        cells = next(reader)
    except csv.Error:
        return None
    line_count = reader.line_num
    if width and len(cells) != width:
        return None
    own_lines = lines[start : start + line_count]
    if min(width, line_count) > 1 and all(len(_tabbed_cells(line)) == width for line in own_lines):
        message = (
            f"{name}, line {start + 1}: a cell of this row begins with a quote, and one in line "
            f"{start + line_count} could end it. Double the quotes of the text, and put "
            "quotes around the whole cell."
        )
        raise ConfigurationError(message)
    return cells, line_count
