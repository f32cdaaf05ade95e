import json
from pathlib import Path

import numpy as np
import pytest

from journeyman.data.storage import load_samples
from journeyman.errors import UserError
from journeyman.policies.random import RandomPolicy
from journeyman.services.rollout import Capture, capture_result, capture_rollout, save_capture
from support.signal_env import Answering, Player, SignalEnv


def play(env: SignalEnv, policy=None, *, ticks: int = 7, seed: int = 5) -> Capture:
    rng = np.random.default_rng(1)
    return capture_rollout(env, policy or env.demonstrator(), ticks=ticks, seed=seed, rng=rng)


def same_arrays(first: Capture, second: Capture) -> bool:
    return first.digest == second.digest


def test_an_action_stands_beside_the_observation_it_answers() -> None:
    capture = play(SignalEnv(forced=0.0))
    # the demonstrator names the signal it sees: column k of the features is 1 for signal k
    shown = capture.features[:, :, 1:].argmax(axis=2) + 1
    assert (capture.actions == shown).all()
    assert (capture.rewards == 1.0).all()


def test_rows_are_the_lanes_own_steps() -> None:
    env = SignalEnv(num_worlds=3, agents=2)
    capture = play(env)
    again = SignalEnv(num_worlds=3, agents=2)
    obs, _ = again.reset(seed=5)
    for t in range(7):
        assert (capture.features[:, t] == obs["features"]).all()
        assert (capture.action_mask[:, t] == obs["action_mask"]).all()
        obs, rewards, *_ = again.step(capture.actions[:, t])
        assert (capture.rewards[:, t] == rewards).all()
    assert capture.world_of_lane.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    env = SignalEnv()
    first = play(env)
    # the environment is in the middle of an episode now: the capture resets it
    assert same_arrays(first, play(env))
    assert not same_arrays(first, play(env, seed=6))


def test_ends_are_marked_and_the_last_observation_is_the_one_before_the_reset() -> None:
    # length 7: every lane is truncated in the last of 7 ticks, where progress reads 7/7 = 1,
    # while the next episode's first observation would read 0
    capture = play(SignalEnv(length=7))
    assert capture.truncated[:, -1].all()
    assert not capture.truncated[:, :-1].any()
    assert not capture.terminated.any()
    assert (capture.final_features[:, 0] == 1.0).all()
    # two ticks into the next episode nothing has ended: progress 2/7
    later = play(SignalEnv(length=7), ticks=9)
    assert later.final_features[:, 0] == pytest.approx(2 / 7)


def test_terminated_and_truncated_stay_apart() -> None:
    capture = play(SignalEnv(length=5, hazard=0.3), ticks=20)
    assert capture.terminated.any()
    assert not (capture.terminated & capture.truncated).any()
    lane = capture.trajectories[0]
    assert (lane.dones == (lane.terminated | lane.truncated)).all()


def test_later_steps_do_not_write_into_the_capture() -> None:
    class Reusing(SignalEnv):
        """Hands over the same buffers again and again, as the contract allows."""

        def _observe(self):
            fresh = super()._observe()
            if not hasattr(self, "buffers"):
                self.buffers = [{k: v.copy() for k, v in fresh.items()} for _ in range(3)]
            self.buffers = self.buffers[1:] + self.buffers[:1]
            for name, array in fresh.items():
                self.buffers[0][name][:] = array
            return self.buffers[0]

    assert same_arrays(play(SignalEnv()), play(Reusing()))


def test_a_capture_cannot_be_written_to() -> None:
    capture = play(SignalEnv())
    for array in (capture.features, capture.rewards, capture.demonstrations.actions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_metrics_are_totals_and_rates() -> None:
    # 8 lanes x 10 ticks = 80 agent-ticks
    capture = play(SignalEnv(forced=0.5), ticks=10)
    right = int((capture.rewards == 1.0).sum())
    assert capture.metrics["right_total"] == right
    assert capture.metrics["right_per_1000"] == pytest.approx(1000 * right / 80)
    assert capture.metrics["wrong_total"] == 0
    assert capture.metrics["reward_sum"] == right
    assert capture.metrics["reward_mean"] == pytest.approx(right / 80)
    assert capture.metrics["action_share.wait"] == pytest.approx(1 - right / 80)
    per_lane = [t.metrics["right_total"] for t in capture.trajectories]
    assert sum(per_lane) == right


def test_demonstrations_are_the_steps_lane_after_lane() -> None:
    demonstrations = play(SignalEnv(num_worlds=2, agents=2)).demonstrations
    assert len(demonstrations) == 4 * 7
    assert demonstrations.trajectory_ids.tolist() == [0] * 7 + [1] * 7 + [2] * 7 + [3] * 7
    assert demonstrations.groups.tolist() == [0, 0, 1, 1]
    assert demonstrations.label == "demonstrator"
    assert demonstrations.warnings == ()


@pytest.mark.parametrize("ticks", [0, -3])
def test_ticks_must_be_positive(ticks: int) -> None:
    with pytest.raises(UserError, match=f"ticks: a capture needs at least 1, got {ticks}"):
        play(SignalEnv(), ticks=ticks)


def test_an_environment_without_agents_is_refused() -> None:
    env = SignalEnv()
    env.num_envs = 0
    with pytest.raises(UserError, match="test/signal: the environment has no agents"):
        play(env)


def test_a_random_player_is_warned_about_and_knows_its_log_probabilities() -> None:
    env = SignalEnv()
    capture = play(env, RandomPolicy(env.lane_spec), ticks=20)
    assert any("random policy" in warning for warning in capture.warnings)
    assert capture.demonstrations.warnings == capture.warnings
    assert capture.trajectories[0].log_probs_known
    assert "log_prob_mean" in capture.trajectories[0].metrics


def test_play_without_choice_is_warned_about() -> None:
    # forced in every step: only wait, reward 0 throughout
    capture = play(SignalEnv(forced=1.0))
    assert any("every captured action is 'wait'" in w for w in capture.warnings)
    assert any("all captured rewards are the same" in w for w in capture.warnings)


class Dictated(Player):
    """Plays given actions, whatever is asked."""

    label = "dictated"

    def __init__(self, actions: list[int]) -> None:
        self.actions = np.array(actions)

    def choose(self, obs, rng, deterministic) -> np.ndarray:
        return self.actions


def test_a_masked_action_is_a_bug_and_named() -> None:
    with pytest.raises(ValueError, match=r"dictated: chose 'answer_2', .* \(tick 0, lane 0\)"):
        play(SignalEnv(forced=1.0), Dictated([2] * 8))


def test_a_policy_must_answer_for_every_lane() -> None:
    with pytest.raises(ValueError, match=r"actions of shape \(3,\) for 8 lanes"):
        play(SignalEnv(), Dictated([0] * 3))


def test_progress_ends_at_the_last_tick() -> None:
    seen: list[tuple[int, int]] = []
    env = SignalEnv()
    capture_rollout(
        env,
        Answering(),
        ticks=250,
        seed=0,
        rng=np.random.default_rng(0),
        progress=lambda done, total: seen.append((done, total)),
    )
    # told every 250 // 100 = 2 ticks: 2, 4, ..., 250
    assert len(seen) == 125
    assert seen[-1] == (250, 250)


@pytest.mark.parametrize(
    ("worlds", "files"),
    [(4, 8), (40, 2)],  # 8 lanes: a file each; 80 lanes: shards of 64 and 16
)
def test_a_saved_capture_is_read_back_the_same(tmp_path: Path, worlds: int, files: int) -> None:
    capture = play(SignalEnv(num_worlds=worlds))
    manifest_path = save_capture(
        capture, tmp_path / "out", metadata={"config_id": "abc", "seed": 1}
    )
    manifest = json.loads(manifest_path.read_text())
    assert manifest_path.name == "rollout_sample_manifest.json"
    assert len(manifest["samples"]) == files
    assert len(list(manifest_path.parent.glob("*.npz"))) == files
    metrics = json.loads((manifest_path.parent / "rollout_sample_metrics.json").read_text())
    assert metrics == capture.metrics
    loaded = [
        trajectory
        for entry in manifest["samples"]
        for trajectory in load_samples(
            manifest_path.parent / entry["sample"], sha256=entry["sha256"]
        )
    ]
    assert [t.digest for t in loaded] == [t.digest for t in capture.trajectories]
    for before, after in zip(capture.trajectories, loaded, strict=True):
        assert after.metadata["agent_id"] == before.metadata["agent_id"]
        assert after.metadata["group"] == before.metadata["group"]
        assert after.metrics == before.metrics
        about = after.metadata["capture_metadata"]
        assert about == {"config_id": "abc", "ticks": 7, "seed": 1, "world_seed": 5}


def test_the_same_capture_gives_the_same_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save_capture(play(SignalEnv()), tmp_path / folder, prefix="town")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names[0] == "town_0000.json"
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_that_is_a_file_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UserError, match="out: the capture cannot be written"):
        save_capture(play(SignalEnv()), tmp_path / "out")


def test_the_typed_result_counts() -> None:
    capture = play(SignalEnv(num_worlds=4, agents=2))
    result = capture_result(capture, None, 1.5)
    assert (result.worlds, result.lanes, result.ticks, result.samples) == (4, 8, 7, 56)
    assert result.manifest is None
    assert result.digest == capture.digest
    assert result.metrics["right_total"] == capture.metrics["right_total"]
