"""Command lines that cannot be parsed: what is wrong with them, and what was probably meant."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Final

from cyclopts import CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from .console import print_note

_PROMPT_COMMANDS: Final = ("imagine", "shorten")
_TYPO_SIMILARITY: Final = 0.8
"""The similarity from which an unknown option counts as a misspelling of another."""


def report_usage_error(
    error: CycloptsError, arguments: Sequence[str], commands: Collection[str]
) -> int:
    """Print the error and hints, without the values of options; return the exit code.

    Args:
        error: The error of the parser.
        arguments: The command line.
        commands: The names of all commands.
    """
    error.verbose = False
    message = re.sub(r"(--?[\w-]+)=\S+", r"\1=…", str(error))
    message = re.sub(
        r'Unknown option: "?(--?[\w-]+)"?\. Did you mean "?\1"?\?', r"Misplaced: \1.", message
    )
    command = next((argument for argument in arguments if argument in commands), "")
    print_note(f"mjasync: {message.strip()}")
    for hint in _hints(error, message, command, arguments):
        print_note(hint)
    print_note(f"Try: {' '.join(filter(None, ('mjasync', command, '--help')))}")
    return 2


def _hints(
    error: CycloptsError, message: str, command: str, arguments: Sequence[str]
) -> Iterator[str]:
    """Yield what may have been meant."""
    option, value = _value_with_dash(arguments)
    if value and isinstance(error, MissingArgumentError):
        yield f"Join a value that begins with a dash to its option: {option}={shlex.quote(value)}"
    elif command in _PROMPT_COMMANDS and _is_unquoted_prompt(error, message):
        if value:
            yield (
                "Text that begins with a dash is read as an option. If it is the prompt, put the "
                f"options first and -- before it: mjasync {command} -- {shlex.quote(value)}"
            )
        else:
            yield "A prompt of several words, or with --flags, needs quotes around it."
    if command == "batch" and "--retry-failed" in arguments:
        yield "FILE comes first: mjasync batch FILE --out DIR --retry-failed"


def _value_with_dash(arguments: Sequence[str]) -> tuple[str, str]:
    """Return the argument before text that begins with a dash, and that text; "" for none."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for previous, argument in pairwise(("", *arguments[:end])):
        is_flag_like = argument.startswith("--") and " " not in argument
        if argument.startswith("-") and len(argument) > 2 and not is_flag_like:
            return previous, argument
    return "", ""


def _is_unquoted_prompt(error: CycloptsError, message: str) -> bool:
    """Return whether the error looks like the rest of a prompt rather than a misspelling."""
    if not isinstance(error, UnknownOptionError):
        return isinstance(error, UnusedCliTokensError)
    options = re.findall(r"--[\w-]+", message)
    return len(options) < 2 or SequenceMatcher(None, *options[:2]).ratio() < _TYPO_SIMILARITY
