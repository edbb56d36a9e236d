"""A circuit breaker for submissions: stop sending while their outcomes are uncertain.

While the upstream of a gateway is down, the outcome of every submission is uncertain. A few such
submissions in a row open the circuit. Then single probes are sent, with growing delays, until the
server accepts one. The caller passes the time.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import count
from typing import Final

from .errors import ConfigurationError, MJError

_DEFAULT_THRESHOLD: Final = 3
_INITIAL_DELAY: Final = 5.0
_MAX_DELAY: Final = 300.0


class CircuitState(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    """Submissions are sent without delay."""
    OPEN = "open"
    """Nothing is sent until the delay is over."""
    HALF_OPEN = "half-open"
    """One probe is in flight; nothing else is sent until it has ended."""


class CircuitBreaker:
    """Decides when submissions may be sent, by the outcomes of earlier ones.

    Call `start_submission` before each submission. When it has ended, pass its number to one of
    `record_accepted`, `record_uncertain` and `record_not_taken`.
    """

    def __init__(
        self,
        *,
        threshold: int = _DEFAULT_THRESHOLD,
        first_delay: float = _INITIAL_DELAY,
        longest_delay: float = _MAX_DELAY,
    ) -> None:
        """Create a closed circuit.

        Args:
            threshold: Number of uncertain submissions in a row that open the circuit.
            first_delay: Seconds until the first probe. Each further delay is twice as long.
            longest_delay: Maximum seconds between two probes, unless the server requests more.

        Raises:
            ConfigurationError: A value is out of range.
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
        """The state of the circuit."""
        if not self._is_open:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._probe is None else CircuitState.HALF_OPEN

    @property
    def reason(self) -> str:
        """Why nothing is sent, with the server's own words; "" while the circuit is closed."""
        if not self._is_open:
            return ""
        return (
            f"The outcome of {self._uncertain_in_a_row} submissions in a row is uncertain, so that "
            f"only single ones are tried: {self.error}"
        )

    def delay(self, now: float) -> float | None:
        """Return the seconds until the next submission may be sent.

        0 means now. None means that a probe is in flight, which must end first.

        Args:
            now: The time on the caller's clock.
        """
        if not self._is_open:
            return 0.0
        if self._probe is not None:
            return None
        return max(0.0, self._next_probe_at - now)

    def start_submission(self) -> int:
        """Start a submission, and return its number. While the circuit is open, it is the probe."""
        number = next(self._numbers)
        if self._is_open:
            self._probe = number
        return number

    def record_accepted(self, number: int) -> None:
        """Close the circuit: the server has accepted a submission.

        If the circuit was open, the next uncertain submission opens it again.
        """
        del number  # the age of the submission does not matter
        self._uncertain_in_a_row = self._threshold - 1 if self._is_open else 0
        self._is_open = False
        self._probe = self.error = self.opened_at = None
        self._delay = self._first_delay

    def record_uncertain(self, number: int, error: MJError, now: float) -> None:
        """Count a submission with an uncertain outcome.

        Submissions that were in flight when the circuit was opened do not delay the probe.
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
