"""Signals that come when a look has just been taken, or when one has come already."""

import signal

import pytest

from mfpde import signals


@pytest.fixture(autouse=True)
def nothing_received(monkeypatch):
    for name, value in (("first", 0), ("loading", False), ("patient", False)):
        monkeypatch.setattr(signals.received, name, value)


def test_a_signal_after_the_last_look_ends_what_was_waited_for():
    """As the block is left, not inside it."""
    done = []
    with pytest.raises(signals.Interrupted, match="SIGTERM"), signals.patiently():  # noqa: PT012
        signals.receive(signal.SIGTERM, None)
        done.append("the step in hand")
    assert done
    assert signals.exit_code() == 143
    assert not signals.received.patient


def test_the_end_of_the_time_adds_nothing_to_a_signal():
    with pytest.raises(signals.Interrupted), signals.patiently():  # noqa: PT012
        signals.receive(signal.SIGINT, None)
        signals.receive(signal.SIGALRM, None)
        assert signals.received.first == signal.SIGINT
    assert signals.exit_code() == 130
