"""Captures of every kind of action, and of lanes that idle.

Legend: L lanes, T steps.
"""

import numpy as np
import pytest

from journeyman.data.batching import stack
from journeyman.data.demonstrations import spec_of
from journeyman.data.storage import load_samples
from journeyman.data.trajectory import Trajectory
from journeyman.errors import TrainingError
from journeyman.policies.random import RandomPolicy
from journeyman.services.dataset import load_demonstrations
from journeyman.services.rollout import Capture, capture_result, capture_rollout, save_capture
from journeyman.settings.dataset import BatchingSettings, ManifestDatasetSettings
from support.action_envs import SPECS, AnswerEnv, answer

KINDS = ("discrete", "multi_discrete", "box")


def play(env: AnswerEnv, policy=None, *, ticks: int = 12) -> Capture:
    rng = np.random.default_rng(1)
    return capture_rollout(env, policy or env.demonstrator(), ticks=ticks, seed=5, rng=rng)


def reread(capture: Capture, folder) -> list[Trajectory]:
    manifest = save_capture(capture, folder)
    entries = sorted(folder.glob("*.npz"))
    assert len(entries) > 0
    assert manifest.is_file()
    return [trajectory for path in entries for trajectory in load_samples(path)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("worlds", [3, 70])  # a file each, and shards
def test_actions_of_every_kind_are_kept_saved_and_read_back(tmp_path, kind, worlds) -> None:
    capture = play(AnswerEnv(kind, num_worlds=worlds))
    spec = SPECS[kind]
    assert capture.actions.shape == (worlds, 12, *spec.action_shape)
    assert capture.actions.dtype == spec.action_dtype
    assert (capture.actions == answer(kind, capture.features)).all()
    loaded = reread(capture, tmp_path / "out")
    assert [t.digest for t in loaded] == [t.digest for t in capture.trajectories]
    assert {spec_of(trajectory) for trajectory in loaded} == {spec}
    batch = stack(loaded[:3], ["a", "b", "c"])
    assert batch.actions.shape == (3, 12, *spec.action_shape)
    settings = ManifestDatasetSettings(
        kind="manifest",
        manifest=str(tmp_path / "out" / "rollout_sample_manifest.json"),
        allow_external_paths=True,
        recompute_log_probs=False,
        batching=BatchingSettings(batch_size=2, shuffle=False, drop_last=False, streaming=False),
    )
    shown = load_demonstrations(settings)
    assert shown.lane_spec == spec
    np.testing.assert_array_equal(shown.actions, capture.demonstrations.actions)


def test_box_actions_are_kept_as_they_were_chosen() -> None:
    # 3 is the bound of x; the player goes beyond it, and so does the capture
    class Beyond(RandomPolicy):
        def act(self, obs, rng, *, deterministic=False):
            step = super().act(obs, rng)
            return type(step)(step.actions + 10.0, step.log_probs, step.values)

    capture = play(AnswerEnv("box"), Beyond(SPECS["box"]))
    assert (capture.actions[..., 0] >= 7.0).all()


def test_metrics_of_actions() -> None:
    box = play(AnswerEnv("box"))
    assert box.metrics["action_mean.x"] == pytest.approx(box.actions[..., 0].mean(), abs=1e-6)
    assert box.metrics["action_std.y"] == pytest.approx(box.actions[..., 1].std(), abs=1e-6)
    assert not any(name.startswith("action_share") for name in box.metrics)
    # of two components each has shares that add up to one
    multi = play(AnswerEnv("multi_discrete")).metrics
    shares = [multi[f"action_share.{name}"] for name in SPECS["multi_discrete"].action_names]
    assert sum(shares[:2]) == pytest.approx(1.0)
    assert sum(shares[2:]) == pytest.approx(1.0)
    assert not any(name.endswith("_per_1000") for name in multi)  # it counts no events


def test_an_action_of_the_wrong_shape_is_named() -> None:
    env = AnswerEnv("multi_discrete")
    with pytest.raises(ValueError, match=r"answerer: actions of shape \(4, 2\) for 4 lanes"):
        capture_rollout(
            AnswerEnv("discrete"),
            env.demonstrator(),
            ticks=3,
            seed=0,
            rng=np.random.default_rng(0),
        )


def test_idle_steps_are_left_out_and_no_transition_crosses_them() -> None:
    # World w begins at tick w of 5. Lane 0: steps 0-4 are its first episode, 5 is idle, 6-10 the
    # second, 11 idle. Lane 3 has two steps left, then 2 is idle, 3-7 follow, 8 idle, 9-11.
    capture = play(AnswerEnv("box", idles=True))
    spans = capture.spans.tolist()
    assert [span for span in spans if span[0] == 0] == [[0, 0, 5], [0, 6, 11]]
    assert [span for span in spans if span[0] == 3] == [[3, 0, 2], [3, 3, 8], [3, 9, 12]]
    for trajectory in capture.trajectories:
        assert (trajectory.actions == answer("box", trajectory.features)).all()
        assert not trajectory.dones[:-1].any()
    # lanes end by truncation, so what they saw last is needed: the terminal observation is what
    # stands in the idle step's row
    for k, (lane, _, stop) in enumerate(spans):
        if stop < capture.ticks:
            assert capture.trajectories[k].truncated[-1]
            np.testing.assert_array_equal(capture.final_features[k], capture.features[lane, stop])
    # 48 steps less 2 idle ones in lanes 0 and 3, 1: lane 1 idles in 4 and 10, lane 2 in 3 and 9
    assert capture.samples == 48 - 8
    shown = capture.demonstrations
    assert len(shown) == 40
    assert (shown.actions == answer("box", shown.features)).all()
    assert shown.groups.tolist() == [lane for lane, _, _ in spans]
    result = capture_result(capture, None, 0.0)
    assert (result.samples, result.trajectories, result.lanes) == (40, len(spans), 4)


def test_a_capture_with_idle_steps_is_saved_and_read_back(tmp_path) -> None:
    few = play(AnswerEnv("multi_discrete", idles=True))
    assert [t.digest for t in reread(few, tmp_path / "few")] == [t.digest for t in few.trajectories]
    assert few.trajectories[1].metadata["first_tick"] == 6
    # more trajectories than a shard holds, of several lengths: shards by length
    many = play(AnswerEnv("multi_discrete", num_worlds=80, idles=True))
    loaded = reread(many, tmp_path / "many")
    assert sorted(t.digest for t in loaded) == sorted(t.digest for t in many.trajectories)
    assert len({len(t) for t in loaded}) > 1
    assert (tmp_path / "many" / "rollout_sample_shard_0000.npz").is_file()


class Napping(AnswerEnv):
    """Lane 0 is away in given steps, without an end before them."""

    away = (0, 4, 5)

    def reset(self, **how):
        self.played = 0
        return super().reset(**how)

    def step(self, actions):
        obs, rewards, terminated, truncated, info = super().step(actions)
        if self.played in self.away:
            info["idle"] = np.arange(self.num_envs) == 0
        self.played += 1
        return obs, rewards, terminated, truncated, info


def test_a_lane_that_idles_without_an_end_was_cut_there() -> None:
    capture = play(Napping("box", num_worlds=1, length=100), ticks=8)
    assert capture.spans.tolist() == [[0, 1, 4], [0, 6, 8]]
    first, second = capture.trajectories
    assert not first.dones.any()
    np.testing.assert_array_equal(first.final_features, capture.features[0, 4])
    assert len(second) == 2


def test_nothing_but_idle_steps_is_no_capture() -> None:
    env = Napping("box", num_worlds=1, length=100)
    env.away = tuple(range(8))
    with pytest.raises(TrainingError, match="test/answer_box: every step of the capture was idle"):
        play(env, ticks=8)


def test_without_idle_steps_a_lane_is_one_trajectory_across_its_episodes() -> None:
    capture = play(AnswerEnv("box", terminates=True))
    assert capture.spans.tolist() == [[lane, 0, 12] for lane in range(4)]
    assert capture.trajectories[0].terminated.sum() == 2
    assert capture.demonstrations.features.base is not None  # a view, not a copy
