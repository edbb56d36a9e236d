"""A circuit breaker for submissions: stop sending when the answers stop making sense.

While a gateway's upstream is down, every submission may be taken and none is confirmed. A few such
submissions in a row open the circuit; then single probes go out, ever more slowly, until the server
accepts one. Pure: the caller passes the time in.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import count
from typing import Final

from .errors import ConfigurationError, MJError

__all__ = ["CircuitBreaker", "CircuitState"]

_DEFAULT_THRESHOLD: Final = 3
_INITIAL_DELAY: Final = 5.0
_MAX_DELAY: Final = 300.0


class CircuitState(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    """Submissions go out freely."""
    OPEN = "open"
    """Nothing goes out before the delay is over."""
    HALF_OPEN = "half-open"
    """One probe is on the wire; nothing else goes out before it is answered."""


class CircuitBreaker:
    """Decide when submissions may go out, from how earlier ones were answered.

    Announce each submission with `start_submission`; pass its number to exactly one of
    `record_accepted`,
    `record_uncertain` and `record_not_taken` when it has ended.
    """

    def __init__(
        self,
        *,
        threshold: int = _DEFAULT_THRESHOLD,
        first_delay: float = _INITIAL_DELAY,
        longest_delay: float = _MAX_DELAY,
    ) -> None:
        """Set up a closed circuit.

        Args:
            threshold: Uncertain submissions in a row that open it.
            first_delay: Seconds from then to the first probe; each further one takes twice as long.
            longest_delay: Seconds between two probes at most, unless the server asks for more.

        Raises:
            ConfigurationError: One of these makes no sense.
        """
        if threshold < 1:
            raise ConfigurationError(f"threshold must be at least 1, not {threshold}.")
        if not 0 < first_delay <= longest_delay:
            message = (
                "The delays of a circuit breaker must be positive, the longest no shorter than the "
                f"first, not {first_delay} and {longest_delay}."
            )
            raise ConfigurationError(message)
        self._threshold = threshold
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._numbers = count(1)
        self._is_open = False
        self._uncertain_in_a_row = 0
        self._delay = first_delay
        self._next_probe_at = 0.0
        self._probe: int | None = None
        self.error: MJError | None = None
        """The error of the last uncertain submission; None while the circuit is closed."""
        self.opened_at: float | None = None
        """Time at which the circuit was opened, on the caller's clock; None while it is closed."""

    @property
    def state(self) -> CircuitState:
        """Whether submissions go out freely, not at all, or one at a time."""
        if not self._is_open:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._probe is None else CircuitState.HALF_OPEN

    @property
    def reason(self) -> str:
        """Why nothing goes out, with the server's own words; "" while the circuit is closed."""
        if not self._is_open:
            return ""
        return (
            f"{self._uncertain_in_a_row} submissions in a row got no answer that tells whether "
            f"they were taken, so that only single ones are tried: {self.error}"
        )

    def delay(self, now: float) -> float | None:
        """Return the seconds until the next submission may go out.

        0 means now; None means not before the probe under way has ended, whenever that is.
        """
        if not self._is_open:
            return 0.0
        if self._probe is not None:
            return None
        return max(0.0, self._next_probe_at - now)

    def start_submission(self) -> int:
        """Announce a submission; return its number. While the circuit is open it is the probe."""
        number = next(self._numbers)
        if self._is_open:
            self._probe = number
        return number

    def record_accepted(self, number: int) -> None:
        """Close the circuit: the server took a submission, or was found to have it.

        After a pause, the next uncertain one opens it again at once.
        """
        del number  # however old it is, its answer is news
        self._uncertain_in_a_row = self._threshold - 1 if self._is_open else 0
        self._is_open = False
        self._probe = self.error = self.opened_at = None
        self._delay = self._first_delay

    def record_uncertain(self, number: int, error: MJError, now: float) -> None:
        """Count a submission without a definite outcome.

        Those that were on the wire when the circuit was opened delay no probe.
        """
        self._uncertain_in_a_row += 1
        if self._is_open:
            self.error = error
            if number != self._probe:
                return
            self._probe = None
            self._delay = min(2 * self._delay, self._longest_delay)
        elif self._uncertain_in_a_row >= self._threshold:
            self.error = error
            self._is_open = True
            self.opened_at = now
        self._next_probe_at = now + max(self._delay, error.retry_after or 0.0)

    def record_not_taken(self, number: int) -> None:
        """End a submission that proves nothing: it was refused for now, or never sent."""
        if number == self._probe:
            self._probe = None
