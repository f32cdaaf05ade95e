"""Named random streams from one seed, and their states as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

STREAMS = (
    "env",
    "demonstrator",
    "init",
    "split",
    "minibatch",
    "demonstration_minibatch",
    "act",
    "evaluation",
    "promotion",
    "guide",
)
"""Each consumer draws from its own stream, so that a change in one leaves the others alone.

New names are appended: a stream's seed depends on its position.
"""


@dataclass
class SeedPlan:
    """The random generators of one run, each a child of one root seed.

    Attributes:
        seed: the root seed.
        generators: one PCG64 generator for each name in ``STREAMS``.
    """

    seed: int
    generators: dict[str, np.random.Generator] = field(init=False)

    def __post_init__(self) -> None:
        children = np.random.SeedSequence(self.seed).spawn(len(STREAMS))
        self.generators = {
            name: np.random.Generator(np.random.PCG64(child))
            for name, child in zip(STREAMS, children, strict=True)
        }

    def __getitem__(self, name: str) -> np.random.Generator:
        return self.generators[name]

    def integer(self, name: str) -> int:
        """Returns the fixed integer seed of a stream, in [0, 2**31).

        It does not advance the stream: the same plan always gives the same integer, for
        consumers that take a seed and not a generator (an environment, ``torch.Generator``).
        """
        child = np.random.SeedSequence(self.seed, spawn_key=(STREAMS.index(name),))
        return int(child.generate_state(1, np.uint32)[0] >> 1)

    def state(self) -> dict[str, Any]:
        """Returns every generator's state as JSON-able values."""
        return {name: rng.bit_generator.state for name, rng in self.generators.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Puts the generators back to a state that ``state()`` returned.

        Raises:
            KeyError: if ``state`` lacks one of the streams.
        """
        for name, rng in self.generators.items():
            rng.bit_generator.state = state[name]
