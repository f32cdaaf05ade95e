"""Practice on a manifest's trajectories, from the configuration on: the town with its map."""

from pathlib import Path

import pytest

from journeyman.composition import compose_settings
from journeyman.errors import UserError
from journeyman.orchestrator import Orchestrator
from journeyman.preflight import preflight
from journeyman.results import PPOTrainingResult, TrainingSummary
from journeyman.settings.root import Settings

TOWN = (
    "env.scenario=kitchen_breakfast",
    "env.episode_ticks=60",
    "evaluation.episodes=4",
    "promotion=off",
    "tracking=none",
)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Returns the manifests of what chance and what the demonstrator played."""
    folder = tmp_path_factory.mktemp("captures")
    found = {}
    for policy in ("random", "demonstrator"):
        result = Orchestrator(compose_settings(TOWN)).capture_rollout(
            ticks=90, worlds=4, policy=policy, save_to=folder / policy
        )
        assert result.manifest is not None
        found[policy] = result.manifest
    return found


def replaying(tmp_path: Path, manifest: str, *more: str) -> Settings:
    return compose_settings(
        (
            *TOWN,
            f"outputs={tmp_path}/outputs",
            "strategy=ppo",
            "strategy.updates=2",
            "strategy.data_mode=replay",
            "dataset=manifest",
            f"dataset.manifest={manifest}",
            "dataset.allow_external_paths=true",
            *more,
        )
    )


def test_recorded_chance_is_practised_on(tmp_path: Path, manifests: dict[str, str]) -> None:
    settings = replaying(tmp_path, manifests["random"], "strategy.critic_warmup=0")
    summary = Orchestrator(settings, run_dir=tmp_path / "run").run()
    assert isinstance(summary, TrainingSummary)
    training = summary.training
    assert isinstance(training, PPOTrainingResult)
    last = training.last_update
    # An untrained policy is nearly uniform over what is allowed, as chance is.
    assert last["replay_kl"] < 0.01
    assert last["replay_effective_sample_share"] > 0.98
    assert (training.data_mode, training.steps, training.updates) == ("replay", 0, 2)
    assert summary.weights_digest == training.weights_digest
    assert summary.untrained.episode_returns != summary.final.episode_returns


def test_a_demonstrators_unknown_chance_is_refused_before_anything_is_written(
    tmp_path: Path, manifests: dict[str, str]
) -> None:
    refused = replaying(tmp_path, manifests["demonstrator"])
    with pytest.raises(UserError, match=r"unknown, .* dataset\.recompute_log_probs=true takes"):
        Orchestrator(refused).run()
    assert not (tmp_path / "outputs").exists()
    preflight([replaying(tmp_path, manifests["demonstrator"], "dataset.recompute_log_probs=true")])


def test_play_of_another_town_is_refused_before_anything_is_written(
    tmp_path: Path, manifests: dict[str, str]
) -> None:
    other = replaying(tmp_path, manifests["random"], "env.observation.variant=compact")
    with pytest.raises(UserError, match="does not fit environment town/kitchen_breakfast"):
        preflight([other])
    assert not (tmp_path / "outputs").exists()
