"""Says what is wrong with an environment, a sentence each: for whoever writes one.

``check_env`` looks at an environment at play, ``check_settings`` also at what its settings
promise. Sentences that begin with ``advice:`` name something to think about; all others are
something that training would trip over.

Legend: L lanes, W worlds, A agents.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.build import make_env
from journeyman.env.inspection import ADVICE, Inspector
from journeyman.env.protocol import LaneEnv
from journeyman.errors import TrainingError, UserError, in_a_line
from journeyman.policies.protocol import Observation, Policy
from journeyman.policies.random import RandomPolicy
from journeyman.settings.env import EnvSettings
from journeyman.settings.external_env import GymnasiumSettings, PettingZooSettings

__all__ = ["ADVICE", "check_env", "check_settings"]

_AFTERWARDS = 50
"""Steps after a saved state that are compared with those after it is put back."""

_WITH_NEIGHBOURS = 200
"""Steps in which worlds are compared with the same ones among others."""


def check_env(env: LaneEnv, *, steps: int = 1000, seed: int = 0) -> list[str]:
    """Plays an environment at random and says what is wrong with it.

    Looked at: shapes and dtypes, numbers that are not finite, masks that allow nothing, ends of
    episodes and their last observations, idle lanes, whether arrays hold as long as they must,
    whether the same seed gives the same play and another seed another, and whether ``restore``
    brings back what ``state`` saved.

    Args:
        env: what is looked at; it is reset.
        steps: steps of each lane in random play, at least 1.
        seed: of the worlds and of chance.

    Returns:
        Sentences; those that begin with ``advice:`` name nothing wrong.
    """
    inspector = Inspector(env)
    inspector.spec()
    try:
        recorded = _play(env, steps, seed, inspector)
        if recorded is not None:
            inspector.advise()
            _check_repeats(env, seed, inspector, recorded)
            if "repeat" not in inspector.found:
                _check_other_seed(env, seed, inspector, recorded)
                _check_restore(env, seed, inspector, recorded)
    except (TrainingError, UserError) as error:
        inspector.say("failed", f"it fails: {error}")
    except Exception as error:  # an environment may raise anything, and that is the finding
        inspector.say("failed", f"it fails with {in_a_line(error)}")
    return list(inspector.found.values())


def check_settings(settings: EnvSettings, *, steps: int = 1000, seed: int = 0) -> list[str]:
    """Builds what settings describe and says what is wrong with it.

    Beyond ``check_env``: whether it can be built, whether a world's play depends on how many
    there are, whether its demonstrator fits and earns more than chance, and what of the settings
    could be better.

    Args:
        settings: of the environment.
        steps: steps of each lane in random play, at least 1.
        seed: of the worlds and of chance.
    """
    try:
        env = make_env(settings, num_worlds=2)
    except UserError as error:
        return list(error.problems)
    try:
        found = check_env(env, steps=steps, seed=seed)
        if all(sentence.startswith(ADVICE) for sentence in found):
            found += _neighbours_matter(settings, steps, seed)
            found += _demonstrator(env, settings, steps, seed)
            found += _needless_rebuild(settings, steps, seed)
    finally:
        env.close()
    return found


@dataclass(frozen=True)
class _Recorded:
    """Random play: the actions of each step, and a digest of what came of it.

    Attributes:
        actions: one array of all lanes a step.
        digests: one of the reset, then one a step.
        mean_return: sum of rewards over the episodes begun, a mean over agents.
        first_end: steps until a world was over, or None.
    """

    actions: list[NDArray[Any]]
    digests: list[bytes]
    mean_return: float
    first_end: int | None


def _play(
    env: LaneEnv,
    steps: int,
    seed: int,
    inspector: Inspector | None = None,
    policy: Policy | None = None,
) -> _Recorded | None:
    """Has a policy play, or chance; None: what was seen forbids going on."""
    rng = np.random.default_rng(0)
    chosen = policy or RandomPolicy(env.lane_spec)
    obs, _ = env.reset(seed=seed)
    env.set_social_stage("OFF")
    if inspector is not None and not inspector.observation("reset", obs):
        return None
    digests, played, total, episodes, first_end = [_digest(obs)], [], 0.0, env.num_worlds, None
    for step in range(1, steps + 1):
        actions = chosen.act(obs, rng).actions
        kept, copied = obs, {name: array.copy() for name, array in obs.items()}
        outcome = env.step(actions)
        if inspector is not None:
            _check_buffers(inspector, step, kept, copied)
            if not inspector.step(step, outcome):
                return None
        obs, rewards, _, _, info = outcome
        digests.append(_digest(obs, *outcome[1:4]))
        played.append(np.array(actions))
        total += float(rewards.sum(dtype=np.float64)) * env.num_worlds / env.num_envs
        episodes += int(info["world_over"].sum()) if step < steps else 0
        if first_end is None and info["world_over"].any():
            first_end = step
    return _Recorded(played, digests, total / episodes, first_end)


def _difference(
    env: LaneEnv, actions: Sequence[NDArray[Any]], expected: Sequence[bytes]
) -> int | None:
    """Plays on until something differs; returns in which step, the first being 1, or None.

    It stops there: what was possible in one course of things may not be in another.
    """
    for step, (chosen, digest) in enumerate(zip(actions, expected, strict=True), start=1):
        obs, rewards, terminated, truncated, _ = env.step(chosen)
        if _digest(obs, rewards, terminated, truncated) != digest:
            return step
    return None


def _check_buffers(inspector: Inspector, step: int, kept: Observation, copied: Observation) -> None:
    for name, array in kept.items():
        if not np.array_equal(array, copied[name], equal_nan=array.dtype.kind == "f"):
            inspector.say(
                "buffers",
                f"step {step}: it overwrote {name} of the observation before; what is handed "
                "over must hold until the second next step, so use two buffers in turn",
            )


def _check_repeats(env: LaneEnv, seed: int, inspector: Inspector, recorded: _Recorded) -> None:
    obs, _ = env.reset(seed=seed)
    step: int | None = 0
    if _digest(obs) == recorded.digests[0]:
        step = _difference(env, recorded.actions, recorded.digests[1:])
    if step is not None:
        inspector.say(
            "repeat",
            f"the same seed and actions lead to something else {_at(step)}; draw all chance from "
            "the generator that reset(seed=...) makes, and carry nothing over from before it",
        )


def _check_other_seed(env: LaneEnv, seed: int, inspector: Inspector, recorded: _Recorded) -> None:
    steps = min(len(recorded.actions), _WITH_NEIGHBOURS)
    other = _play(env, steps, seed + 1)
    assert other is not None
    if other.digests == recorded.digests[: steps + 1]:
        inspector.say(
            "seed",
            f"{ADVICE}another seed changes nothing in {steps} steps: all evaluation episodes of "
            "a deterministic policy will be the same",
        )


def _check_restore(env: LaneEnv, seed: int, inspector: Inspector, recorded: _Recorded) -> None:
    """Saves a state, in a second episode where there is one, and takes the play up again."""
    start = len(recorded.actions) // 2
    if recorded.first_end is not None:
        start = min(recorded.first_end + 3, len(recorded.actions))
    until = min(start + _AFTERWARDS, len(recorded.actions))
    obs, _ = env.reset(seed=seed)
    for actions in recorded.actions[:start]:
        obs, *_ = env.step(actions)
    seen = _digest(obs)
    state = {name: np.array(array) for name, array in env.state().items()}
    after = recorded.actions[start:until]
    expected = [_digest(*env.step(actions)[:4]) for actions in after]
    if _digest(env.restore(state)) != seen:
        inspector.say(
            "restore",
            f"restore: it shows something else than when the state was saved, at step {start}",
        )
    elif (step := _difference(env, after, expected)) is not None:
        inspector.say(
            "restore",
            f"restore: the play differs {step} steps after the state was put back, so state "
            "lacks something (a generator, a counter)",
        )


def _neighbours_matter(settings: EnvSettings, steps: int, seed: int) -> list[str]:
    """Compares the play of two worlds with that of the same two among three."""
    native = isinstance(settings, GymnasiumSettings) and settings.vectorization in (
        "auto",
        "vector_entry_point",
    )
    seeds: list[tuple[str, Any, Any]] = [("given a seed each", [7, 8], [7, 8, 9])]
    if not native:  # its own vectorised code may draw for all worlds from one generator
        seeds.append(("given one seed", seed, seed))
    found = []
    for how, two, three in seeds:
        alone = _two_worlds(settings, 2, two, min(steps, _WITH_NEIGHBOURS))
        among = _two_worlds(settings, 3, three, min(steps, _WITH_NEIGHBOURS))
        if (step := _first_difference(alone, among)) is not None:
            found.append(
                f"{how}, what the first two worlds play depends on whether there is a third, "
                f"{_at(step)}; each world needs a generator of its own, from its seed alone"
            )
    return found


def _two_worlds(settings: EnvSettings, worlds: int, seed: Any, steps: int) -> list[bytes]:
    """Returns digests of the first two worlds' random play, whatever is beside them."""
    env = make_env(settings, num_worlds=worlds)
    try:
        lanes = 2 * env.num_envs // worlds
        policy, rng, beside = RandomPolicy(env.lane_spec), *map(np.random.default_rng, (0, 1))
        obs, _ = env.reset(seed=seed)
        digests = [_digest(_rows(obs, slice(0, lanes)))]
        for _ in range(steps):
            parts = [policy.act(_rows(obs, slice(0, lanes)), rng).actions]
            if env.num_envs > lanes:
                parts.append(policy.act(_rows(obs, slice(lanes, None)), beside).actions)
            obs, *outcome, _ = env.step(np.concatenate(parts))
            parts = [np.asarray(array)[:lanes] for array in outcome]
            digests.append(_digest(_rows(obs, slice(0, lanes)), *parts))
        return digests
    finally:
        env.close()


def _demonstrator(env: LaneEnv, settings: EnvSettings, steps: int, seed: int) -> list[str]:
    if getattr(settings, "demonstrator", "own") is None:
        return []
    try:
        theirs = _play(env, steps, seed, policy=env.demonstrator())
        chance = _play(env, steps, seed)
    except (TrainingError, UserError) as error:
        return [f"its demonstrator fails: {error}"]
    except Exception as error:  # it is the user's own code, and may raise anything
        return [f"its demonstrator fails with {in_a_line(error)}"]
    assert theirs is not None and chance is not None  # noqa: PT018
    if theirs.mean_return > chance.mean_return:
        return []
    return [
        f"{ADVICE}the demonstrator earns about {theirs.mean_return:.4g} an episode, chance "
        f"{chance.mean_return:.4g}: there is little to imitate"
    ]


def _needless_rebuild(settings: EnvSettings, steps: int, seed: int) -> list[str]:
    if not isinstance(settings, PettingZooSettings) or not settings.rebuild:
        return []
    env = make_env(settings.model_copy(update={"rebuild": False}), num_worlds=1)
    try:
        found = check_env(env, steps=steps, seed=seed)
    finally:
        env.close()
    if any(not sentence.startswith(ADVICE) for sentence in found):
        return []
    return [f"{ADVICE}it carries nothing over from episode to episode: env.rebuild=false is faster"]


def _rows(obs: Observation, lanes: slice) -> dict[str, NDArray[Any]]:
    return {name: array[lanes] for name, array in obs.items()}


def _digest(obs: Observation, *arrays: NDArray[Any]) -> bytes:
    sha = hashlib.sha256()
    for array in [obs[name] for name in sorted(obs)] + list(arrays):
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.digest()


def _first_difference(first: Sequence[bytes], second: Sequence[bytes]) -> int | None:
    pairs = zip(first, second, strict=True)
    return next((n for n, (ours, theirs) in enumerate(pairs) if ours != theirs), None)


def _at(step: int) -> str:
    return "at reset" if step == 0 else f"at step {step}"
