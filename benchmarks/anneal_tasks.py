"""What anneal.py trains on, whom it imitates, and by which methods."""

from dataclasses import dataclass

PRESETS = (
    "stepped",
    "linear",
    "cosine",
    "kickstart",
    "demo_augmented",
    "jump_start",
    "critic_first",
)
"""Options of config group ``anneal`` that are compared, as they ship."""

SCRATCH = "scratch"
"""PPO from an untrained policy."""

UPDATES = 48
"""Updates of practice that every preset has."""

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Task:
    """An environment, what all methods have in common there, and budgets.

    Attributes:
        env: name for readers.
        shared: overrides of every run.
        imitation: overrides of the presets' runs alone.
        practice: of ``strategy.ppo``, the same in all runs.
        scratch: of ``strategy.ppo`` in PPO from scratch, where others suit it better.
        scratch_updates: length of PPO from scratch.
        curve_worlds: worlds that a point of a curve is played in: the first of those that the
            run itself is evaluated on.
        demonstrator_updates: after which our own PPO, with these settings and a seed of its own,
            is stopped to be the demonstrator; None: the environment has one.
        counts: events that the table shows.
        quick: further overrides of every run for ``--quick``; None: left out there.
        quick_practice: likewise of ``strategy.ppo``.
        quick_imitation: likewise of the presets' runs alone.
    """

    env: str
    shared: tuple[str, ...]
    imitation: tuple[str, ...] = ()
    practice: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ("critic_warmup=0",)
    scratch_updates: int = UPDATES
    curve_worlds: int
    demonstrator_updates: int | None = None
    counts: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = None
    quick_practice: tuple[str, ...] = ()
    quick_imitation: tuple[str, ...] = ()


_TOWN = ("env=town", "policy=features")
_TOWN_SCRATCH = ("critic_warmup=0", "learning_rate=7e-4")
_GYMNASIUM = ("env=gymnasium", "policy=small")
_GYMNASIUM_IMITATION = (
    # What a half-trained policy chooses by chance nobody can foresee: a gate that asks for nine
    # answers in ten would be closed to the best imitation there is.
    "anneal.guardrails.bc_accuracy.enabled=false",
    # Returns are in the hundreds there, and so are gradients; the bound is made for the town's.
    "anneal.guardrails.health.max_grad_norm=1000",
    "strategy.bc.batch_size=256",
    "dataset.worlds=16",
    "dataset.ticks=500",
)
_SMALL_PRACTICE = (
    "gamma=0.99",
    "epochs=10",
    "minibatch_size=128",
    "entropy_coef=0.0",
    "learning_rate=1e-3",
    "demonstration_batch_size=128",
)

TASKS = {
    "neighbourhood": Task(
        env="town/neighbourhood",
        shared=_TOWN,
        imitation=("dataset.worlds=32",),
        scratch=_TOWN_SCRATCH,
        scratch_updates=4 * UPDATES,
        curve_worlds=32,
        counts=("queue_conflict", "faint"),
        quick=("evaluation.episodes=16",),
        quick_practice=("worlds=16", "rollout_ticks=32", "minibatch_size=512"),
        quick_imitation=("dataset.worlds=16", "anneal.guardrails.bc_accuracy.enabled=false"),
    ),
    "queue_conflict": Task(
        env="town/queue_conflict",
        shared=(*_TOWN, "env.scenario=queue_conflict"),
        imitation=("dataset.worlds=32",),
        scratch=_TOWN_SCRATCH,
        curve_worlds=32,
        counts=("queue_conflict", "faint"),
    ),
    "cartpole": Task(
        env="CartPole-v1",
        shared=(*_GYMNASIUM, "env.id=CartPole-v1"),
        imitation=_GYMNASIUM_IMITATION,
        practice=(*_SMALL_PRACTICE, "worlds=8", "rollout_ticks=64"),
        curve_worlds=32,
        demonstrator_updates=12,
    ),
    "acrobot": Task(
        env="Acrobot-v1",
        shared=(*_GYMNASIUM, "env.id=Acrobot-v1"),
        imitation=_GYMNASIUM_IMITATION,
        practice=(*_SMALL_PRACTICE, "worlds=16", "rollout_ticks=64", "normalize_features=true"),
        curve_worlds=32,
        demonstrator_updates=12,
    ),
}
