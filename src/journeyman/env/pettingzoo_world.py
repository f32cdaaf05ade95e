"""One copy of a PettingZoo parallel environment, played episode by episode.

Legend: A possible agents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from journeyman.env.episodes import episode_seed
from journeyman.errors import NotFiniteError, TrainingError, in_a_line


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a world shows after a step or a reset; agents who are not there are left out.

    Attributes:
        seen: agent -> observation, of all who acted in the step and of all who act next.
        infos: agent -> info, where the environment gave one.
        rewards: (A,) float32; 0 for whoever was not there.
        terminated: (A,) bool.
        truncated: (A,) bool.
        idle: (A,) bool, who was not there in the step.
        over: whether nobody is left, so that the world has to begin anew.
    """

    seen: Mapping[str, Any]
    infos: Mapping[str, Mapping[str, Any]]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    idle: NDArray[np.bool_]
    over: bool


class World:
    """A parallel environment with the seeds of its episodes and the actions of the current one.

    Each episode is reset with a seed of its own, so that seed and actions say all about it.

    Attributes:
        env: the environment.
        agents: all there can be, A; the order of all arrays.
        seed: what the episodes' seeds come from.
        episode: number of the current episode under that seed; -1 before the first.
        played: the actions of the current episode, one row of A a step.
        present: (A,) bool, who acts in the next step.
        drawable: whether the environment was built with ``render_mode="rgb_array"``.
    """

    def __init__(
        self,
        build: Callable[..., Any],
        agents: tuple[Any, ...],
        *,
        name: str,
        max_steps: int | None,
        rebuild: bool,
    ) -> None:
        """Builds the environment.

        Args:
            build: builds one; takes ``render_mode`` as a keyword argument.
            agents: its possible agents.
            name: what messages call this world, e.g. ``pettingzoo/x_v1, world 3``.
            max_steps: steps after which whoever is there is truncated; None: never.
            rebuild: build it anew for each episode, so that nothing is carried over.
        """
        self._build, self._rebuild, self._used = build, rebuild, False
        self.env, self.agents = build(), agents
        self.seed, self.episode = 0, -1
        self.played: list[NDArray[Any]] = []
        self.present = np.zeros(len(agents), np.bool_)
        self.drawable = False
        self._gone = np.zeros(len(agents), np.bool_)
        self._name, self._max_steps = name, max_steps

    def make_drawable(self, act: Callable[[NDArray[Any]], list[Any]]) -> None:
        """Builds the environment anew, able to draw itself, and plays its episode again."""
        self.drawable, played = True, np.array(self.played)
        self._build_anew()
        self.again(played, act)

    def _build_anew(self) -> None:
        self.env.close()
        self.env = self._build(render_mode="rgb_array") if self.drawable else self._build()
        self._used = False

    def begin(self) -> Moment:
        """Resets the environment with the next episode's seed."""
        self.episode += 1
        return self._reset()

    def again(self, played: NDArray[Any], act: Callable[[NDArray[Any]], list[Any]]) -> Moment:
        """Begins the current episode once more and plays recorded actions.

        Args:
            played: (steps, A, ...) actions as they were handed to ``step``.
            act: turns a row of them into the agents' actions.
        """
        moment = self._reset()
        for row in played:
            moment = self.step(row, act(row))
        return moment

    def step(self, row: NDArray[Any], actions: list[Any]) -> Moment:
        """Plays one step.

        Args:
            row: what to remember of it.
            actions: one for each of ``agents``; those of absent ones are not played.

        Raises:
            NotFiniteError: if a reward is not.
            TrainingError: if the environment fails or says something it must not.
        """
        self.played.append(row.copy())
        chosen = dict(zip(self.agents, actions, strict=True))
        outcome = self._call("step", {a: chosen[a] for a in list(self.env.agents)})
        if not isinstance(outcome, tuple) or len(outcome) != 5:
            self.fail("step must return (observations, rewards, terminated, truncated, infos)")
        seen, rewards, terminations, truncations, infos = outcome
        acted = self.present
        moment_rewards = np.zeros(len(self.agents), np.float32)
        terminated, truncated = np.zeros_like(acted), np.zeros_like(acted)
        for lane in np.flatnonzero(acted).tolist():
            moment_rewards[lane] = self._reward(lane, rewards)
            terminated[lane] = self._flag("terminated", lane, terminations)
            truncated[lane] = self._flag("truncated", lane, truncations)
        self._note_who_left(acted, terminated, truncated)
        return Moment(
            seen=seen,
            infos=infos,
            rewards=moment_rewards,
            terminated=terminated,
            truncated=truncated,
            idle=~acted,
            over=not self.present.any(),
        )

    def _note_who_left(
        self, acted: NDArray[np.bool_], terminated: NDArray[np.bool_], truncated: NDArray[np.bool_]
    ) -> None:
        living = self._living()
        vanished = acted & ~living & ~terminated & ~truncated
        if vanished.any():
            self.fail(
                "left the agents without being terminated or truncated",
                int(np.flatnonzero(vanished)[0]),
            )
        if self._max_steps is not None and len(self.played) >= self._max_steps:
            truncated |= acted & ~terminated
            living = np.zeros_like(living)
        self._gone |= terminated | truncated
        self.present = living & ~self._gone

    def _reset(self) -> Moment:
        if self._used and self._rebuild:
            self._build_anew()
        self.played, self._used = [], True
        outcome = self._call("reset", seed=episode_seed(self.seed, self.episode))
        if not isinstance(outcome, tuple) or len(outcome) != 2:
            self.fail("reset must return (observations, infos)")
        self._gone = np.zeros(len(self.agents), np.bool_)
        self.present = self._living()
        if not self.present.any():
            self.fail("nobody is there after reset")
        nobody = np.zeros(len(self.agents), np.bool_)
        return Moment(
            seen=outcome[0],
            infos=outcome[1],
            rewards=np.zeros(len(self.agents), np.float32),
            terminated=nobody,
            truncated=nobody,
            idle=nobody,
            over=False,
        )

    def _living(self) -> NDArray[np.bool_]:
        living = set(self.env.agents)
        strangers = sorted(living - set(self.agents))
        if strangers:
            self.fail(f"agents {strangers} are not among possible_agents")
        return np.array([agent in living for agent in self.agents])

    def _reward(self, lane: int, rewards: Mapping[str, Any]) -> float:
        reward = np.asarray(self._of(lane, "reward", rewards), np.float64)
        if reward.shape != () or not np.isfinite(reward):
            kind = TrainingError if reward.shape != () else NotFiniteError
            said = f"got reward {reward.tolist()}, which is no finite number"
            self.fail(said, lane, kind=kind)
        return float(reward)

    def _flag(self, what: str, lane: int, flags: Mapping[str, Any]) -> bool:
        flag = self._of(lane, what, flags)
        if not isinstance(flag, bool | np.bool_):
            self.fail(f"got {what} {flag!r}, which is neither True nor False", lane)
        return bool(flag)

    def _of(self, lane: int, what: str, by_agent: Mapping[str, Any]) -> Any:
        agent = self.agents[lane]
        if agent not in by_agent:
            self.fail(f"acted and got no {what}", lane)
        return by_agent[agent]

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self.env, method)(*arguments, **options)
        except Exception as error:
            raise TrainingError(
                f"{self._place()}: {method} failed with {in_a_line(error)}"
            ) from error

    def fail(
        self,
        problem: str,
        lane: int | None = None,
        *,
        kind: type[TrainingError] = TrainingError,
    ) -> NoReturn:
        """Raises an error of this kind, naming environment, world, agent and step."""
        who = "" if lane is None else f"{self.agents[lane]} "
        raise kind(f"{self._place()}: {who}{problem}")

    def _place(self) -> str:
        return f"{self._name}, episode {self.episode}, step {len(self.played)}"
