"""What learning.py trains on, and what the scores are held against."""

from dataclasses import dataclass

WINDOW = 100
"""Training episodes that the curves average over."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """An experiment and what its scores are held against.

    Attributes:
        experiment: option of config group ``experiment``.
        env: name for readers.
        reference: a return that counts as 1, where an untrained policy's counts as 0; None: what
            the demonstrator gets on the same evaluation episodes.
        reference_source: where it comes from.
        overrides: of the experiment.
        threshold: mean of the last ``WINDOW`` training episodes whose first reaching is timed.
        needs: package without which the task is left out.
        quick: whether it is part of ``--quick``; shortened runs would be other figures.
    """

    experiment: str
    env: str
    reference: float | None
    reference_source: str
    overrides: tuple[str, ...] = ()
    threshold: float | None = None
    needs: str | None = None
    quick: bool = False


TASKS = {
    "cartpole": Task(
        experiment="cartpole",
        env="CartPole-v1",
        reference=500.0,
        reference_source="the greatest possible",
        threshold=475.0,
        quick=True,
    ),
    "acrobot": Task(
        experiment="acrobot",
        env="Acrobot-v1",
        reference=-90.0,
        reference_source="CleanRL's published ppo.py, 500k steps",
    ),
    "pendulum": Task(
        experiment="pendulum",
        env="Pendulum-v1",
        reference=-200.0,
        reference_source="swings up and stays up",
    ),
    "simple_spread": Task(
        experiment="simple_spread",
        env="simple_spread (MPE)",
        reference=-7.87,
        reference_source="straight to the shortest assignment's landmarks (spread_reference.py)",
        needs="mpe2",
    ),
    "town": Task(
        experiment="quickstart",
        env="town/neighbourhood",
        reference=None,
        reference_source="the scripted demonstrator",
        overrides=("promotion=off",),
    ),
}
