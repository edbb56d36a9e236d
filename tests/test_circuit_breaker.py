"""The circuit breaker: a pure machine, driven with times of the test's own."""

from __future__ import annotations

import pytest

from mjasync import SubmitUncertain
from mjasync._circuit_breaker import CircuitBreaker, CircuitState
from mjasync.errors import ConfigurationError

LOST = SubmitUncertain("No answer.", endpoint="imagine", payload={}, description="upstream down")


def test_a_few_in_a_row_open_it_and_say_why() -> None:
    """The third uncertain submission in a row opens the circuit; the server's words are told."""
    breaker = CircuitBreaker()
    numbers = [breaker.start_submission() for _ in range(8)]
    breaker.record_uncertain(numbers[0], LOST, 10.0)
    breaker.record_uncertain(numbers[1], LOST, 10.0)
    assert (breaker.state, breaker.delay(10.0), breaker.reason) == (CircuitState.CLOSED, 0.0, "")
    breaker.record_uncertain(numbers[2], LOST, 10.0)
    assert (breaker.state, breaker.delay(10.0)) == (CircuitState.OPEN, 5.0)
    assert "upstream down" in breaker.reason
    assert breaker.opened_at == 10.0


def test_what_was_on_the_wire_delays_no_probe() -> None:
    """Late answers to what went out before the circuit opened move no probe away."""
    breaker = CircuitBreaker(threshold=1)
    early = [breaker.start_submission() for _ in range(4)]
    breaker.record_uncertain(early[0], LOST, 0.0)
    for number in early[1:]:
        breaker.record_uncertain(number, LOST, 3.0)
    assert breaker.delay(3.0) == 2.0


def test_probes_go_out_one_at_a_time_and_ever_more_slowly() -> None:
    """A lost probe doubles the delay up to its bound; nothing goes out beside a probe."""
    breaker = CircuitBreaker(threshold=1, first_delay=5, longest_delay=15)
    breaker.record_uncertain(breaker.start_submission(), LOST, 0.0)
    now, delays = 0.0, []
    for _ in range(4):
        delays.append(breaker.delay(now))
        now += delays[-1] or 0.0
        probe = breaker.start_submission()
        assert (breaker.state, breaker.delay(now)) == (CircuitState.HALF_OPEN, None)
        breaker.record_uncertain(probe, LOST, now)
    assert delays == [5.0, 10.0, 15.0, 15.0]


def test_an_accepted_one_closes_it_and_the_next_loss_opens_it_again() -> None:
    """After a pause one more uncertain submission is enough; two accepted ones forgive all."""
    breaker = CircuitBreaker()
    for _ in range(3):
        breaker.record_uncertain(breaker.start_submission(), LOST, 0.0)
    breaker.record_accepted(breaker.start_submission())
    assert (breaker.state, breaker.delay(0.0), breaker.error) == (CircuitState.CLOSED, 0.0, None)
    breaker.record_uncertain(breaker.start_submission(), LOST, 1.0)
    assert breaker.state is CircuitState.OPEN
    breaker.record_accepted(breaker.start_submission())
    breaker.record_accepted(breaker.start_submission())
    breaker.record_uncertain(breaker.start_submission(), LOST, 2.0)
    assert breaker.state is CircuitState.CLOSED


def test_a_refused_probe_proves_nothing() -> None:
    """A probe that was refused for now leaves the circuit open, and another may go out."""
    breaker = CircuitBreaker(threshold=1)
    breaker.record_uncertain(breaker.start_submission(), LOST, 0.0)
    breaker.record_not_taken(breaker.start_submission())
    assert (breaker.state, breaker.delay(5.0)) == (CircuitState.OPEN, 0.0)


def test_a_server_that_asks_for_more_time_gets_it() -> None:
    """Retry-After of an uncertain answer is kept."""
    busy = SubmitUncertain("No answer.", endpoint="imagine", payload={}, retry_after=600)
    breaker = CircuitBreaker(threshold=1)
    breaker.record_uncertain(breaker.start_submission(), busy, 0.0)
    assert breaker.delay(0.0) == 600


@pytest.mark.parametrize(
    "settings", [{"threshold": 0}, {"first_delay": 0}, {"first_delay": 9, "longest_delay": 8}]
)
def test_settings_that_make_no_sense(settings: dict[str, int]) -> None:
    """They are refused where they are made."""
    with pytest.raises(ConfigurationError):
        CircuitBreaker(**settings)  # type: ignore[arg-type]
