"""What a search may choose from, written as Hydra writes sweeps.

``key=a,b`` and ``key=choice(a,b)``: one of these; ``key=range(1,5)``: a whole number, the end
left out as in Python; ``key=interval(0.1,0.9)``: a real number, both ends in; ``tag(log, ...)``
round a range or an interval: even on a logarithmic scale.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from journeyman.errors import UserError


@dataclass(frozen=True)
class Choice:
    """One of several words."""

    values: tuple[str, ...]

    @property
    def extremes(self) -> tuple[str, ...]:
        """The values that must all be valid for the space to be."""
        return self.values

    def drawn(self, rng: np.random.Generator) -> str:
        """Returns one of them."""
        return self.values[rng.integers(len(self.values))]


@dataclass(frozen=True)
class Span:
    """A number between two bounds, both of them possible.

    Attributes:
        low: smallest.
        high: largest.
        step: whole numbers only, so far apart; None: real numbers.
        log: even on a logarithmic scale.
    """

    low: float
    high: float
    step: int | None = None
    log: bool = False

    @property
    def extremes(self) -> tuple[str, ...]:
        """Both ends."""
        return tuple(dict.fromkeys((self.written(self.low), self.written(self.high))))

    def drawn(self, rng: np.random.Generator) -> str:
        """Returns a value between the ends, even on the span's scale."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            value = min(max(value, self.low), self.high)
        else:
            value = rng.uniform(self.low, self.high)
        if self.step is not None:
            value = self.low + self.step * round((value - self.low) / self.step)
        return self.written(value)

    def written(self, value: float) -> str:
        """Returns a value as an override has it."""
        return repr(value) if self.step is None else str(int(value))


@dataclass(frozen=True)
class SearchSpace:
    """What is fixed and what may be chosen.

    Attributes:
        fixed: overrides of every job.
        axes: key -> what it may be.
    """

    fixed: tuple[str, ...]
    axes: Mapping[str, Choice | Span]

    def job(self, chosen: Mapping[str, str]) -> list[str]:
        """Returns the overrides of a job in which each axis has a value."""
        return [*self.fixed, *(f"{key}={chosen[key]}" for key in self.axes)]

    def probes(self, count: int, *, rng: np.random.Generator) -> list[list[str]]:
        """Returns jobs that stand for the space: if they are all valid, trials hardly are not.

        Every combination of extremes where there are no more than ``count``. Else every extreme
        once, the others being first ones, then combinations drawn from the whole space. The first
        job has all first extremes.
        """
        extremes = [axis.extremes for axis in self.axes.values()]
        if math.prod(map(len, extremes)) <= count:
            chosen = [
                dict(zip(self.axes, each, strict=True)) for each in itertools.product(*extremes)
            ]
        else:
            chosen = [*self._one_at_a_time()]
            while len(chosen) < count:
                chosen.append({key: axis.drawn(rng) for key, axis in self.axes.items()})
        return [self.job(each) for each in chosen]

    def _one_at_a_time(self) -> Iterator[dict[str, str]]:
        first = {key: axis.extremes[0] for key, axis in self.axes.items()}
        yield first
        for key, axis in self.axes.items():
            for value in axis.extremes[1:]:
                yield {**first, key: value}


def parse_search_space(overrides: Sequence[Override]) -> SearchSpace:
    """Sorts parsed overrides into fixed ones and axes; of one key given twice the last counts.

    Raises:
        UserError: for a range that is empty or not of whole numbers, an interval whose ends are
            swapped, or a logarithmic scale that reaches zero.
    """
    fixed: dict[str, str] = {}
    axes: dict[str, Choice | Span] = {}
    problems = []
    for override in overrides:
        key = override.get_key_element()
        fixed.pop(key, None)
        axes.pop(key, None)
        if not override.is_sweep_override() or override.is_hydra_override():
            fixed[key] = str(override.input_line)
            continue
        try:
            axes[key] = _axis(override)
        except ValueError as error:
            problems.append(f"{key}: {error} (got {override.input_line})")
    if problems:
        raise UserError(problems)
    return SearchSpace(tuple(fixed.values()), axes)


def _axis(override: Override) -> Choice | Span:
    sweep = override.value()
    log = "log" in getattr(sweep, "tags", ())
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        return _checked(Span(float(sweep.start), float(sweep.end), None, log))
    if isinstance(sweep, RangeSweep):
        values = list(sweep.range())
        if not values or any(value != int(value) for value in (*values, sweep.step)):
            raise ValueError("a range holds whole numbers, at least one; use interval(low,high)")
        return _checked(Span(int(min(values)), int(max(values)), abs(int(sweep.step)), log))
    return Choice(tuple(override.sweep_string_iterator()))


def _checked(span: Span) -> Span:
    if not span.low <= span.high:
        raise ValueError("the first end must be the smaller one")
    if span.log and span.low <= 0:
        raise ValueError("a logarithmic scale needs positive numbers")
    if span.log and span.step not in (None, 1):
        raise ValueError("a logarithmic scale knows no step")
    return span
