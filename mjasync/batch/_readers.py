"""Reading files of prompts; other files are refused, since each line would be paid for."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

from ..errors import ConfigurationError, InvalidRequest
from ._delimited_text import NumberedRows, is_table, read_table
from ._planning import plan_jobs
from ._rows import InputRow, parse_row, template_fields

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark this one begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY_SIGNATURES: Final = (
    (b"PK\x03\x04", "a ZIP archive (.xlsx, .docx and .ods are such)"),
    (b"\xd0\xcf\x11\xe0", "an old Office document (.xls, .doc)"),
    (b"%PDF-", "a PDF"),
    (b"{\\rtf", "an RTF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
)
_NOT_PROMPTS: Final = re.compile(
    r"\.(x?html?|mhtml|xml|svg|md|markdown|rst|tex|rtf|docx?|odt|pages|pdf|xls[xmb]?|ods|numbers|"
    r"parquet|arrow|feather|pkl|db|sqlite3?|sql|zip|gz|bz2|xz|zst|7z|rar|tar|tgz|json5|toml|ini|"
    r"cfg|py|js|ts|ipynb|css|png|jpe?g|webp|gif|avif|bmp|mp4)",
    re.IGNORECASE,
)
_MARKUP_START: Final = re.compile(
    r"\s*<(?:!doctype|!--|\?xml|/?(?:html|head|body|title|meta|script|style|table|tbody|tr|td|div|"
    r"p|ul|ol|li|span|pre|br|h[1-6]|svg|rss|feed|urlset)\b[^<>]*>)",
    re.IGNORECASE,
)
_QUOTED_STRING: Final = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_JSON_START: Final = re.compile(
    rf"\s*(?:\[\s*(?:{_QUOTED_STRING}\s*[,\]]|\{{\s*{_QUOTED_STRING}\s*:|\n)|\{{\s*(?:{_QUOTED_STRING}\s*:|\n))"
)
"""The start of a JSON document, and not of a prompt: `["a fox",`, `{"prompt":`, a lone bracket."""
_YAML_START: Final = re.compile(r"""\s*(?:#.*\n\s*)*(?:-\s+)?\{?\s*["']?prompts?["']?\s*:\s""")
"""The start of a YAML document, and not of a prompt: `- prompt: a fox`, `prompts:`."""
_QUOTED_LINE: Final = re.compile(rf"\s*{_QUOTED_STRING},\s*")
"""A line of a list in source code, and not a prompt: `"a fox",`."""
_SAVE_AS_HINT: Final = (
    "Save it as plain text with one prompt on each line (.txt), or as a table (.csv, .tsv), JSON "
    "(.json, .jsonl) or YAML."
)


class InputRows(list[InputRow]):
    """The rows of a file, with the number of its other lines."""

    comments: int = 0
    """How many lines of text start with `#`."""
    blank: int = 0
    """How many lines of text are blank."""
    multiline_places: tuple[str, ...] = ()
    """The places of table rows that have several lines because of quotes."""


def read_rows(
    file: str | os.PathLike[str] | BinaryIO, template: str | None = None, repeat: int = 1
) -> InputRows:
    """Read and check a file of prompts: text, CSV, TSV, JSON or YAML, as `Batch.add_file` does.

    Files with other content are refused, since each of their lines would be paid for. JSON in a
    text file is read as JSON.

    Args:
        file: Its path, whose suffix determines the format; or a binary file with text or JSON.
        template: The prompt of each row, with names of columns in braces.
        repeat: How often a row without its own number is drawn.

    Returns:
        The rows, which `Batch.add` accepts.

    Raises:
        ConfigurationError: The file cannot be read; the message names the line.
    """
    source = Path(file) if isinstance(file, str | os.PathLike) else file
    path = source
    if not isinstance(path, Path):
        name = getattr(source, "name", None)
        path = Path(name if isinstance(name, str) and not name.startswith("<") else "stdin")
    suffix = path.suffix.lower()
    text = _decode(_read_content(source, path), path)
    reader = _READERS.get(suffix) or _choose_reader(text, suffix, path)
    if _MARKUP_START.match(text):
        raise ConfigurationError(
            f"{path} is a web page or XML, and contains no prompts. {_SAVE_AS_HINT}"
        )
    if template and reader is _read_text and "prompt" not in template_fields(template):
        message = f"{path} has no columns: a template can refer to its lines only as {{prompt}}."
        raise ConfigurationError(message)
    rows = InputRows()
    if reader is _read_text:
        lines = [line.strip() for line in _split_text_lines(text)]
        rows.comments = sum(line.startswith("#") for line in lines)
        rows.blank = lines.count("")
    for place, value in reader(text, str(path)):
        try:
            rows.append(parse_row(value, template, repeat))
            rows.multiline_places += (place,) if place.startswith("lines") else ()
            next(plan_jobs(rows[-1]))
        except InvalidRequest as error:
            raise ConfigurationError(f"{path}, {place}: {error.message}") from error
    return rows


def _read_content(source: Path | BinaryIO, path: Path) -> bytes:
    try:
        data: object = source.read_bytes() if isinstance(source, Path) else source.read()
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {str(path)!r}.") from None
    except OSError as error:
        message = f"The file {str(path)!r} cannot be read: {error.strerror or error}."
        raise ConfigurationError(message) from error
    if not isinstance(data, bytes):
        message = f"The file {str(path)!r} is open as text: open it in binary mode ('rb')."
        raise ConfigurationError(message)
    problem = next((kind for start, kind in _BINARY_SIGNATURES if data.startswith(start)), None)
    if problem or _NOT_PROMPTS.fullmatch(path.suffix):
        problem = problem or f"not a list of prompts by its suffix, {path.suffix!r}"
        raise ConfigurationError(f"{path} is {problem}. {_SAVE_AS_HINT}")
    return data


def _decode(data: bytes, path: Path) -> str:
    encoding = next(
        (name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8-sig"
    )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        message = (
            f"The file {str(path)!r} cannot be read as UTF-8 text ({error}). "
            "Save it as UTF-8 (in Excel: CSV UTF-8)."
        )
        raise ConfigurationError(message) from error
    if "\0" in text:
        message = (
            f"The file {str(path)!r} is not UTF-8 text: it contains NUL characters, as "
            "in UTF-16 and UTF-32 without a byte order mark. Save as UTF-8 (in Excel: CSV UTF-8)."
        )
        raise ConfigurationError(message)
    return text


def _choose_reader(text: str, suffix: str, path: Path) -> Callable[[str, str], NumberedRows]:
    """Return how to read a file with another suffix: as lines of text, or as JSON.

    Raises:
        ConfigurationError: It is a table, YAML, or source code.
    """
    if _JSON_START.match(text):
        return _read_json
    first_line = next((line for line in _split_text_lines(text) if line.strip()), "")
    if _QUOTED_LINE.fullmatch(first_line):
        message = (
            f"The lines of {path} are strings of source code: remove the quotes and commas, or "
            "put brackets around all of it and rename it to .json."
        )
        raise ConfigurationError(message)
    if _YAML_START.match(text):
        raise ConfigurationError(f"{path} is YAML by its content: rename it to .yaml.")
    if is_table(text):
        kind = f"its suffix is {suffix!r}" if suffix else "it has no suffix"
        message = (
            f"{path} is a table, but {kind}: rename it to .csv, or to .tsv if tabs separate its "
            "cells."
        )
        raise ConfigurationError(message)
    return _read_text


def _split_text_lines(text: str) -> list[str]:
    """Split text as editors do; other separators of Unicode are blanks in a prompt."""
    return re.split(r"\r\n|\r|\n", text.removesuffix("\n").removesuffix("\r"))


def _read_text(text: str, _: str) -> NumberedRows:
    for number, line in enumerate(map(str.strip, _split_text_lines(text)), 1):
        if line and not line.startswith("#"):
            yield f"line {number}", line[1:] if line.startswith("\\#") else line


def _read_csv(text: str, name: str, delimiter: str = ",") -> NumberedRows:
    if _JSON_START.match(text):
        raise ConfigurationError(f"{name} is JSON and not a table: rename it to .json.")
    return read_table(text, name, delimiter)


def _read_tsv(text: str, name: str) -> NumberedRows:
    return _read_csv(text, name, "\t")


def _read_json(text: str, name: str) -> NumberedRows:
    """Read an array, an object, or one of either on each line."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield from _read_json_lines(text, name, error)
        return
    if isinstance(document, dict) and "prompt" not in map(str.casefold, map(str.strip, document)):
        keys = ", ".join(map(repr, document))[:200]
        message = (
            f"{name} must contain a list of prompts, or of objects for rows; it is one object with "
            f"{keys or 'nothing'}."
        )
        raise ConfigurationError(message)
    if isinstance(document, list):
        for number, row in enumerate(document, 1):
            yield f"item {number}", row
    else:
        yield "line 1", document


def _read_json_lines(text: str, name: str, document_error: Exception) -> NumberedRows:
    is_first = True
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                message = f"{name}, line {number}: this is not valid JSON ({error})."
                if is_first:  # it is not one document per line, but one document
                    message = f"{name} is not valid JSON: {document_error}."
                raise ConfigurationError(message) from error
            is_first = False
    if is_first:
        raise ConfigurationError(f"{name} is not valid JSON: {document_error}.")


def _read_yaml(text: str, name: str) -> NumberedRows:
    try:
        yaml = import_module("yaml")
    except ImportError:
        message = f"{name} is YAML, which needs PyYAML: python -m pip install PyYAML."
        raise ConfigurationError(message) from None
    try:
        rows: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} is not valid YAML: {error}.") from error
    if not isinstance(rows, list):
        raise ConfigurationError(f"{name} must contain a list of prompts, or of mappings.")
    for number, row in enumerate(rows, 1):
        yield f"row {number}", row


_READERS: Final[Mapping[str, Callable[[str, str], NumberedRows]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".tab": _read_tsv,
    ".json": _read_json,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
