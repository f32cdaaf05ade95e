"""What trainers need around them, small: a context that records, settings, demonstrations."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.data.replay import ReplayDataset
from journeyman.data.trajectory import Demonstrations
from journeyman.seeding import SeedPlan
from journeyman.settings.policy import PolicySettings
from journeyman.settings.root import Settings
from journeyman.settings.strategy import BCSettings, PPOSettings
from journeyman.tracking.protocol import DatasetInfo
from support.signal_env import Answering, SignalEnv

if TYPE_CHECKING:
    from journeyman.strategies.base import StageOutcome

SMALL = PolicySettings(
    hidden_sizes=(32, 32),
    activation="tanh",
    share_trunk=False,
    map_encoder="none",
    map_features=1,
)

DURATIONS = {
    "epoch_duration_sec",
    "env_steps_per_sec",
    "update_samples_per_sec",
    "duration_sec",
    "samples_per_sec",
    "collect_sec",
    "env_sec",
    "update_sec",
}
"""Figures that two equal runs do not share."""


HELD_OUT = 0.25
"""Share of the demonstrations that imitation is judged by."""


def ppo_settings(**changes: Any) -> PPOSettings:
    """Practice on a few lanes: 64 transitions an update unless changed."""
    values: dict[str, Any] = {
        "kind": "ppo",
        "updates": 4,
        "worlds": 4,
        "rollout_ticks": 8,
        "data_mode": "rollout",
        "replay_share": 0.5,
        "ratio_truncation": 2.0,
        "max_replay_kl": 0.5,
        "min_effective_sample_share": 0.1,
        "epochs": 2,
        "minibatch_size": 24,
        "learning_rate": 3e-3,
        "gamma": 0.9,
        "gae_lambda": 0.9,
        "clip": 0.2,
        "value_clip": None,
        "value_coef": 0.5,
        "entropy_coef": 0.01,
        "max_grad_norm": 0.5,
        "target_kl": None,
        "normalize_advantages": "minibatch",
        "normalize_rewards": False,
        "normalize_features": False,
        "critic_warmup": 0,
        "demonstration_batch_size": 16,
        "adam_eps": 1e-5,
        "on_nan": "raise",
    }
    return PPOSettings.model_validate({**values, **changes})


def bc_settings(**changes: Any) -> BCSettings:
    """Imitation in small minibatches."""
    values: dict[str, Any] = {
        "kind": "bc",
        "epochs": 3,
        "batch_size": 64,
        "learning_rate": 1e-2,
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "label_smoothing": 0.0,
        "class_weighting": "none",
        "val_fraction": HELD_OUT,
        "patience": 0,
    }
    return BCSettings.model_validate({**values, **changes})


def signal_demonstrations(
    *, worlds: int = 8, ticks: int = 30, seed: int = 7, **changes: Any
) -> Demonstrations:
    """The demonstrator's play in the signal environment, one trajectory a lane."""
    env = SignalEnv(num_worlds=worlds)
    obs, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(ticks):
        step = Answering().act(obs, rng)
        lanes = np.arange(env.num_envs)
        seen.append((obs["features"], obs["action_mask"], step.actions, lanes))
        obs, *_ = env.step(step.actions)
    features, mask, actions, lanes = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    values: dict[str, Any] = {
        "features": features,
        "action_mask": mask,
        "actions": actions,
        "weights": np.ones(len(actions), np.float32),
        "trajectory_ids": lanes.astype(np.int64),
        "groups": np.repeat(np.arange(worlds), env.agents).astype(np.int64),
        "lane_spec": env.lane_spec,
        "label": "signal",
    }
    return Demonstrations(**{**values, **changes})


class Emissions:
    """A tracker that remembers (group, metrics, step), and the data it was told of."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any], int]] = []
        self.data: list[DatasetInfo] = []

    def dataset(self, data: DatasetInfo) -> None:
        """Remembers data."""
        self.data.append(data)

    def log(self, group: str, metrics: Mapping[str, Any], step: int) -> None:
        """Remembers one emission."""
        self.calls.append((group, dict(metrics), step))

    def of(self, group: str) -> list[dict[str, Any]]:
        """Returns a group's metrics without durations, in order."""
        return [
            {name: value for name, value in metrics.items() if name not in DURATIONS}
            for name, metrics, _ in self.calls
            if name == group
        ]


class Shown:
    """A progress line, opened by whoever calls a trainer, that remembers how far it came."""

    def __init__(self) -> None:
        self.advances: list[tuple[int, int]] = []

    def advance(self, done: int, total: int, **figures: float) -> None:
        """Remembers where it stands."""
        assert all(isinstance(value, float) for value in figures.values())
        self.advances.append((done, total))


class Surroundings(TrainingContext):
    """A context on a signal environment that keeps what trainers emit and save."""

    def __init__(
        self,
        run_dir: Path,
        *,
        seed: int = 0,
        env: Callable[[int], Any] | None = None,
        demonstrations: Demonstrations | None = None,
        ppo: PPOSettings | None = None,
        checkpoint_every: int = 1000,
        stop_after: int | None = None,
        recorded: ReplayDataset | None = None,
        recompute_log_probs: bool = False,
    ) -> None:
        make = env or (lambda worlds: SignalEnv(num_worlds=worlds))
        self.emissions, self.shown = Emissions(), Shown()
        self.saved: list[Checkpoint] = []
        asked = iter(range(10**9))
        settings = SimpleNamespace(
            runtime=SimpleNamespace(device="cpu", torch_threads=1),
            checkpoint=SimpleNamespace(every=checkpoint_every),
            dataset=SimpleNamespace(recompute_log_probs=recompute_log_probs),
            strategy=SimpleNamespace(kind="bc"),
            ppo=lambda: ppo,
            held_out_fraction=lambda: None if demonstrations is None else HELD_OUT,
        )
        super().__init__(
            settings=cast(Settings, settings),
            seeds=SeedPlan(seed),
            run_dir=run_dir,
            tracker=cast(Any, self.emissions),
            progress=cast(Any, self.shown),
            lane_spec=make(1).lane_spec,
            environment=lambda worlds, _stage: make(worlds),
            load_demonstrations=lambda: cast(Demonstrations, demonstrations),
            load_replay_dataset=lambda: cast(ReplayDataset, recorded),
            stop_requested=lambda: (
                15 if stop_after is not None and next(asked) >= stop_after else None
            ),
        )

    def save(self, checkpoint: Checkpoint, name: str = "latest") -> Path:
        """Writes it as the real one does, and keeps it."""
        self.saved.append(checkpoint)
        return super().save(checkpoint, name)


def untrained(context: TrainingContext) -> Checkpoint:
    """The small policy as it is initialised from the context's seed."""
    from journeyman.learning.policy import initial_checkpoint

    return initial_checkpoint(SMALL, context.lane_spec, context.seeds)


def practised(
    folder: Path,
    start: Checkpoint | None = None,
    *,
    settings: PPOSettings | None = None,
    weight: Callable[[int], float] | None = None,
    **surroundings: Any,
) -> tuple[Surroundings, "StageOutcome"]:
    """Trains by PPO, from an untrained policy unless told otherwise."""
    from journeyman.strategies.ppo import train_ppo

    context = Surroundings(folder, **surroundings)
    first = untrained(context) if start is None else start
    return context, train_ppo(context, first, settings or ppo_settings(), bc_weight=weight)
