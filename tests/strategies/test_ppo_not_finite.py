"""Numbers that are none, from environments of others: practice goes back, and goes on.

The trouble is armed when the second update has been made, so that the third meets it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.checkpoint import Checkpoint
from journeyman.env.gymnasium import GymnasiumEnv
from journeyman.env.pettingzoo import PettingZooEnv
from journeyman.errors import NotFiniteError, TrainingError
from journeyman.settings.external_env import PettingZooSettings
from journeyman.strategies.ppo import train_ppo
from support.gym_envs import env_id
from support.gym_play import settings_of
from support.training import Surroundings, ppo_settings, untrained
from support.trouble import arm

UPDATES, ARMED_AFTER = 4, 2
Make = Callable[[int], Any]


def counters(armed: Path, trouble: str, way: str) -> Make:
    """Lanes that see, or are paid, a NaN in the last step of an episode."""
    kwargs = {"trouble": trouble, "when": 0, "armed": str(armed)}
    settings = settings_of(env_id("Counter"), vectorization=way, kwargs=kwargs)
    return lambda worlds: GymnasiumEnv(settings, num_worlds=worlds)


def vectorised(armed: Path, trouble: str, mode: str) -> Make:
    kwargs = {"trouble": trouble, "armed": str(armed)}
    settings = settings_of(env_id(mode), vectorization="vector_entry_point", kwargs=kwargs)
    return lambda worlds: GymnasiumEnv(settings, num_worlds=worlds)


def runners(armed: Path, trouble: str, _: str) -> Make:
    settings = PettingZooSettings.model_validate(
        {
            "kind": "pettingzoo",
            "module": "support.relay_env",
            "kwargs": {"trouble": trouble, "trouble_at": 5, "armed": str(armed)},
            "rebuild": True,
            "max_episode_steps": None,
            "demonstrator": None,
        }
    )
    return lambda worlds: PettingZooEnv(settings, num_worlds=worlds)


ENVIRONMENTS = [
    pytest.param(counters, "nan reward", "sync", r"Counter-v0: lane \d, step \d", id="sync reward"),
    pytest.param(counters, "nan observation", "sync", r"Counter-v0: lane \d, step \d", id="sync"),
    pytest.param(counters, "nan reward", "async", r"Counter-v0: lane \d, step \d", id="async rew"),
    pytest.param(counters, "nan observation", "async", r"Counter-v0: lane \d, step", id="async"),
    pytest.param(vectorised, "nan reward", "NextStep", "NextStep-v0: lane 3, step 3", id="native"),
    pytest.param(vectorised, "nan reward", "Disabled", "Disabled-v0: lane 3, step 3", id="reset"),
    pytest.param(runners, "nan", "", "world 0, episode .*, step 5: runner_1 got", id="pettingzoo"),
]


class Arming(Surroundings):
    """Arms the environment's trouble when an update has been made."""

    def __init__(self, folder: Path, make: Make, armed: Path, *, once: bool) -> None:
        super().__init__(folder, env=make, checkpoint_every=1)
        self.armed, self.once = armed, once

    def emit(self, group: str, metrics: Any, step: int) -> None:
        super().emit(group, metrics, step)
        if group == "ppo" and metrics["updates"] == ARMED_AFTER:
            arm(self.armed, once=self.once)


def practised(
    folder: Path, build: Callable[..., Make], trouble: str, way: str, *, once: bool, on_nan: str
) -> tuple[Arming, Any]:
    folder.mkdir()
    armed = folder / "armed"
    context = Arming(folder, build(armed, trouble, way), armed, once=once)
    settings = ppo_settings(updates=UPDATES, on_nan=on_nan)
    return context, lambda: train_ppo(context, untrained(context), settings)


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """The state after an update, with the step size that a rollback leaves."""
    schedule = checkpoint.state["schedule"]
    course = {**schedule["practice"], "learning_rate_scale": 0.5, "rollbacks": 1}
    return checkpoint.with_parts({}, schedule={**schedule, "practice": course})


@pytest.mark.parametrize(("build", "trouble", "way", "said"), ENVIRONMENTS)
def test_once_takes_practice_back_to_the_last_update_at_half_the_step(
    tmp_path: Path, build: Callable[..., Make], trouble: str, way: str, said: str
) -> None:
    context, practise = practised(
        tmp_path / "once", build, trouble, way, once=True, on_nan="rollback"
    )
    outcome = practise()
    assert not context.armed.exists(), "the environment was never in trouble"
    # Two updates at the full step; the third, tried again, and the fourth at half of it.
    assert [m["lr"] for m in context.emissions.of("ppo")] == [3e-3, 3e-3, 1.5e-3, 1.5e-3]
    assert outcome.result.updates == UPDATES
    assert all(np.isfinite(array).all() for array in outcome.checkpoint.part("policy").values())
    # All that the update changes was put back, lanes and generators too: to whoever begins there,
    # without any trouble, the same happens to the last bit.
    (there,) = [c for c in context.saved if c.state["schedule"]["stage_update"] == ARMED_AFTER]
    calm = Surroundings(tmp_path / "calm", env=build(tmp_path / "never", trouble, way))
    again = train_ppo(calm, halved(there), ppo_settings(updates=UPDATES, on_nan="rollback"))
    assert again.checkpoint.digest() == outcome.checkpoint.digest()


@pytest.mark.parametrize(("build", "trouble", "way", "said"), ENVIRONMENTS)
def test_always_ends_practice_after_three_rollbacks(
    tmp_path: Path, build: Callable[..., Make], trouble: str, way: str, said: str
) -> None:
    context, practise = practised(
        tmp_path / "always", build, trouble, way, once=False, on_nan="rollback"
    )
    with pytest.raises(NotFiniteError, match=f"^update 3: .*{said}.*; 3 rollbacks did not help$"):
        practise()
    assert [m["updates"] for m in context.emissions.of("ppo")] == [1, 2]


@pytest.mark.parametrize(("build", "trouble", "way", "said"), ENVIRONMENTS[:1])
def test_without_rollbacks_the_first_ends_practice(
    tmp_path: Path, build: Callable[..., Make], trouble: str, way: str, said: str
) -> None:
    _, practise = practised(tmp_path / "raise", build, trouble, way, once=True, on_nan="raise")
    with pytest.raises(NotFiniteError, match=f"^update 3: .*{said}.*reward is nan$"):
        practise()


@pytest.mark.parametrize("trouble", ["raise", "shape", "exit"])
def test_what_smaller_steps_cannot_mend_is_no_reason_to_go_back(
    tmp_path: Path, trouble: str
) -> None:
    way = "async" if trouble == "exit" else "sync"
    _, practise = practised(tmp_path / "once", counters, trouble, way, once=True, on_nan="rollback")
    with pytest.raises(TrainingError, match=r"^update 3: journeyman-test/Counter-v0: ") as caught:
        practise()
    assert not isinstance(caught.value, NotFiniteError)
    assert "rollback" not in str(caught.value)
