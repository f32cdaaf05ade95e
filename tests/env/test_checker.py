"""The checker finds what is wrong with an environment, and nothing in one that is right."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from journeyman.env.checker import ADVICE, check_env, check_settings
from journeyman.env.pettingzoo import PettingZooEnv
from journeyman.policies import registry
from journeyman.policies.protocol import PolicyStep, unknown
from journeyman.policies.registry import register_demonstrator
from journeyman.settings.external_env import GymnasiumSettings, PettingZooSettings
from support.signal_env import SignalEnv


def gymnasium_settings(env_id: str, **changes: Any) -> GymnasiumSettings:
    values: dict[str, Any] = {
        "kind": "gymnasium",
        "id": env_id,
        "kwargs": None,
        "wrappers": [],
        "vectorization": "sync",
        "max_episode_steps": None,
        "demonstrator": None,
    }
    return GymnasiumSettings.model_validate({**values, **changes})


def relay(**changes: Any) -> PettingZooSettings:
    values: dict[str, Any] = {
        "kind": "pettingzoo",
        "module": "support.relay_env",
        "kwargs": changes or None,
        "max_episode_steps": None,
        "rebuild": False,
        "demonstrator": None,
    }
    return PettingZooSettings.model_validate(values)


class Spoilt(SignalEnv):
    """An environment in which one thing is wrong, from step 5 on."""

    def __init__(self, spoil: str, **options: Any) -> None:
        super().__init__(num_worlds=2, **options)
        self.spoil, self.steps = spoil, 0
        self._kept: dict[str, np.ndarray] | None = None

    def reset(self, **options: Any) -> Any:
        if self.spoil == "unseeded":
            options["seed"] = None
        obs, info = super().reset(**options)
        return self._spoilt_obs(obs), info

    def _spoilt_obs(self, obs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        late = self.steps >= 5
        match self.spoil:
            case "dtype":
                obs["features"] = obs["features"].astype(np.float64)
            case "shape" if late:
                obs["features"] = obs["features"][:, :2]
            case "nan" if late:
                obs["features"][3, 1] = np.nan
            case "closed" if late:
                obs["action_mask"][2] = False
            case "wide":
                obs["features"][:, 0] *= 100.0
            case "buffer":
                if self._kept is None:
                    self._kept = obs
                for name, array in obs.items():
                    self._kept[name][:] = array
                return self._kept
        return obs

    def step(self, actions: np.ndarray) -> Any:
        self.steps += 1
        obs, rewards, terminated, truncated, info = super().step(actions)
        late = self.steps >= 5
        match self.spoil:
            case "integers":
                terminated = terminated.astype(np.int64)
            case "reward" if late:
                rewards[1] = np.inf
            case "info":
                del info["final_obs"]
            case "ends":
                info["_final_obs"] = np.zeros_like(info["_final_obs"])
            case "open end" if info["world_over"].any():
                truncated, info["_final_obs"] = np.zeros_like(truncated), terminated
            case "idle" if late:
                info["idle"] = np.arange(self.num_envs) == 0
                rewards[0] = 1.0
            case "constant":
                rewards[:] = 0.0
            case "large":
                rewards *= 50.0
            case "raises" if late:
                raise ValueError("the pigeons are loose")
        return self._spoilt_obs(obs), rewards, terminated, truncated, info

    def state(self) -> dict[str, np.ndarray]:
        state = super().state()
        if self.spoil == "state":
            state["rng"] = np.stack([self._words(w) for w in range(self.num_worlds)])
        if self.spoil == "tick":
            state["tick"] = np.zeros_like(state["tick"])
        return state

    def _words(self, world: int) -> np.ndarray:
        return SignalEnv(num_worlds=self.num_worlds).state()["rng"][world]


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert check_env(SignalEnv(num_worlds=3), steps=100) == []
    assert check_env(SignalEnv(num_worlds=2, hazard=0.1), steps=100) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("dtype", "reset: observation features is (4, 4) float64; it must be (4, 4) float32"),
        ("shape", "step 5: observation features is (4, 2) float32; it must be (4, 4) float32"),
        ("nan", "step 5: feature signal_1 of lane 3 is nan; every feature must be finite"),
        (
            "closed",
            "step 5: the action mask of lane 2 allows no action; one at least must be open",
        ),
        (
            "buffer",
            "step 1: it overwrote features of the observation before; what is handed over must "
            "hold until the second next step, so use two buffers in turn",
        ),
        ("integers", "step 1: terminated is (4,) int64; it must be (4,) bool"),
        ("reward", "step 5: a reward of lane 1 is not finite"),
        ("info", "step 1: info has no final_obs; a step's info needs it"),
        (
            "ends",
            "step 20: info['_final_obs'] of lane 0 is False; it must be terminated | truncated",
        ),
        (
            "open end",
            "step 20: the world of lane 0 is over, and the lane was neither terminated, "
            "truncated nor idle; set truncated where a limit ends it",
        ),
        ("idle", "step 5: lane 0 is idle and gets a reward; it must be 0"),
        (
            "unseeded",
            "the same seed and actions lead to something else at reset; draw all chance from "
            "the generator that reset(seed=...) makes, and carry nothing over from before it",
        ),
        (
            "tick",
            "restore: it shows something else than when the state was saved, at step 23",
        ),
        (
            "state",
            "restore: the play differs 1 steps after the state was put back, so state lacks "
            "something (a generator, a counter)",
        ),
        ("raises", "it fails with ValueError: the pigeons are loose"),
        (
            "wide",
            f"{ADVICE}1 of 4 features go beyond 10 (the furthest is progress with 95): train "
            "with normalize_features=true",
        ),
        (
            "constant",
            f"{ADVICE}in 60 steps of random play every reward was 0 and no lane terminated: "
            "chance finds nothing to learn from; start from demonstrations",
        ),
        (
            "large",
            f"{ADVICE}rewards lie between 0 and 50: train with normalize_rewards=true",
        ),
    ],
)
def test_each_fault_is_said_in_a_sentence(spoil: str, said: str) -> None:
    # Episodes last 20 steps: the first end is at step 20 (progress 0.95), a state is saved at 23.
    assert said in check_env(Spoilt(spoil), steps=60)


def test_an_episode_without_end_and_a_mask_without_use_are_worth_a_word() -> None:
    found = check_env(SignalEnv(num_worlds=2, length=1000, forced=0.0), steps=30)
    assert len(found) == 2
    assert found[0].startswith(f"{ADVICE}no episode ended in 30 steps of random play")
    assert found[1] == f"{ADVICE}the action mask allowed everything all the time"


def test_names_must_differ() -> None:
    from dataclasses import replace

    env = SignalEnv(num_worlds=2)
    env.lane_spec = replace(env.lane_spec, feature_names=("a", "b", "c", "a"))
    found = check_env(env, steps=30)
    assert found == ["lane_spec.feature_names: 'a' is there twice; names must differ"]


def test_a_seed_without_effect_is_worth_a_word() -> None:
    class Fixed(SignalEnv):
        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return super().reset(seed=0, options=options)

    found = check_env(Fixed(num_worlds=2), steps=30)
    assert [sentence for sentence in found if "another seed changes nothing" in sentence]


def test_settings_that_are_right() -> None:
    assert check_settings(gymnasium_settings("CartPole-v1", demonstrator="cartpole")) == []
    assert check_settings(relay(), steps=60) == []
    assert check_settings(relay(arrivals=[0, 2, 0], mask_in="info"), steps=60) == []


def test_settings_that_cannot_be_built_are_said_to_be() -> None:
    (found,) = check_settings(gymnasium_settings("CartPool-v1"))
    assert "did you mean CartPole-v1?" in found


def test_a_failing_environment_is_quoted_with_its_place() -> None:
    (found,) = check_settings(relay(trouble="raise", trouble_at=4), steps=30)
    assert found == (
        "it fails: pettingzoo/relay_env, world 0, episode 0, step 4: step failed with "
        "RuntimeError: the track is flooded, and it rains"
    )


def test_what_is_carried_over_is_found_and_needless_rebuilding_too() -> None:
    carrying = relay(trouble="carry", lengths=[3, 5, 7])
    (found,) = [s for s in check_settings(carrying, steps=30) if not s.startswith(ADVICE)]
    assert found.startswith("the same seed and actions lead to something else at reset")
    rebuilt = carrying.model_copy(update={"rebuild": True})
    assert check_settings(rebuilt, steps=30) == []
    plain = relay().model_copy(update={"rebuild": True})
    assert check_settings(plain, steps=30) == [
        f"{ADVICE}it carries nothing over from episode to episode: env.rebuild=false is faster"
    ]


def test_worlds_that_draw_from_one_generator_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Worlds seeded with what is left of the seeds before them: a third world changes nothing for
    # the first two; worlds seeded with the number of worlds: it does.
    begin = PettingZooEnv.reset

    def reset(self: PettingZooEnv, *, seed: Any = None, options: Any = None) -> Any:
        own = [int(one) + self.num_worlds for one in seed] if isinstance(seed, list) else seed
        return begin(self, seed=own, options=options)

    monkeypatch.setattr(PettingZooEnv, "reset", reset)
    assert check_settings(relay(), steps=30) == [
        "given a seed each, what the first two worlds play depends on whether there is a third, "
        "at reset; each world needs a generator of its own, from its seed alone"
    ]


class Sleeping:
    """Does the first action for ever."""

    label = "sleeping"

    def __init__(self, spec: Any) -> None:
        pass

    def act(
        self, obs: Mapping[str, Any], rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        lanes = len(obs["features"])
        return PolicyStep(np.zeros(lanes, np.int64), unknown(lanes), unknown(lanes))


def test_a_demonstrator_has_to_fit_and_to_earn_more_than_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register_demonstrator("sleeping", Sleeping)
    (found,) = check_settings(gymnasium_settings("CartPole-v1", demonstrator="pendulum"), steps=30)
    assert found.startswith("its demonstrator fails: env.demonstrator: pendulum plays 3 features")
    # Acrobot costs 1 a step until it is solved, which neither sleep nor chance does in 50 steps.
    found = check_settings(gymnasium_settings("Acrobot-v1", demonstrator="sleeping"), steps=50)
    said = "the demonstrator earns about -50 an episode, chance -50: there is little to imitate"
    assert f"{ADVICE}{said}" in found


def test_the_town_passes() -> None:
    from support.town import town_settings

    settings = town_settings(scenario="kitchen_breakfast", agents=2, grid=8, episode_ticks=30)
    assert check_settings(settings, steps=40) == []
