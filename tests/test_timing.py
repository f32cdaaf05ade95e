import contextlib
import doctest

import pytest

from journeyman import timing
from journeyman.timing import Spans


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_a_span_inside_another_is_taken_out_of_the_outer_one(clock):
    # 1 s, then 2 s inside (of which .5 s were measured by someone else), then 4 s: the outer
    # block lasted 7 s, of which 5 are its own and 1.5 the inner one's.
    spans = Spans()
    with spans.span("outer"):
        clock(1.0)
        with spans.span("inner"):
            clock(2.0)
            spans.add("measured", 0.5)
        clock(4.0)
    with spans.span("outer"):
        clock(1.0)
    assert spans.seconds == {"measured": 0.5, "inner": 1.5, "outer": 6.0}
    assert sum(spans.seconds.values()) == 8.0


def test_a_block_that_fails_is_measured_too(clock):
    spans = Spans()
    with contextlib.suppress(ValueError), spans.span("update"):
        clock(3.0)
        raise ValueError
    with spans.span("env"):
        clock(1.0)
    assert spans.seconds == {"update": 3.0, "env": 1.0}


def test_shares_add_up_to_the_wall_time(clock):
    spans = Spans()
    spans.add("env", 1.0)
    spans.add("update", 5.0)
    shares = spans.shares(10.0)
    assert list(shares.items()) == [
        ("update", (5.0, 50.0)),
        ("env", (1.0, 10.0)),
        ("other", (4.0, 40.0)),
    ]


def test_the_example_in_the_documentation_holds():
    assert doctest.testmod(timing).failed == 0
