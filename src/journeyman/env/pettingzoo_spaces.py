"""Finding a parallel environment, and what all of its agents have in common."""

from collections.abc import Callable, Mapping
from typing import Any

from journeyman.env.action_spaces import ActionLayout
from journeyman.env.importing import import_named
from journeyman.env.spaces import ObservationLayout, read_spaces
from journeyman.errors import UserError, in_a_line

Constructor = Callable[..., Any]


def constructor(module: str) -> Constructor:
    """Returns a module's ``parallel_env``.

    Raises:
        UserError: if the module cannot be imported or has no such function.
    """
    found = import_named(module, key="env.module")
    make = getattr(found, "parallel_env", None)
    if not callable(make):
        turns = callable(getattr(found, "env", None))
        raise UserError(
            f"env.module={module} defines no parallel_env"
            + ("; its agents act in turns, which is not supported" if turns else "")
        )
    make_parallel: Constructor = make
    return make_parallel


def build(make: Constructor, env_id: str, arguments: Mapping[str, Any]) -> Any:
    """Builds one copy of an environment.

    Raises:
        UserError: if its ``parallel_env`` refuses the arguments, with what it says.
    """
    try:
        return make(**arguments)
    except UserError:
        raise
    except Exception as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise UserError(
            f"{env_id}: parallel_env({given}) failed with {in_a_line(error)}"
        ) from error


def shared_spaces(env: Any, env_id: str) -> tuple[tuple[Any, ...], ObservationLayout, ActionLayout]:
    """Returns the possible agents of an environment and the spaces that all of them have.

    Raises:
        UserError: if there are no agents, if they differ in a space, or if a space cannot be
            used.
    """
    agents = tuple(getattr(env, "possible_agents", ()))
    if not agents:
        raise UserError(f"{env_id}: it has no possible_agents, so there are no lanes")
    try:
        _, infos = env.reset(seed=0)
        spaces = {
            "observation": {agent: env.observation_space(agent) for agent in agents},
            "action": {agent: env.action_space(agent) for agent in agents},
        }
    except Exception as error:
        raise UserError(f"{env_id}: reset failed with {in_a_line(error)}") from error
    problems = [problem for kind, found in spaces.items() if (problem := _difference(kind, found))]
    if problems:
        raise UserError([f"{env_id}: {problem}" for problem in problems])
    observations, actions = read_spaces(
        env_id,
        spaces["observation"][agents[0]],
        spaces["action"][agents[0]],
        info=infos.get(agents[0], {}),
    )
    return agents, observations, actions


def _difference(kind: str, found: Mapping[Any, Any]) -> str | None:
    """Says which agents have another space than the first one, or None: all share one."""
    (first, space), *others = found.items()
    unlike = [agent for agent, other in others if other != space]
    if not unlike:
        return None
    return (
        f"all agents share one policy, so they need one {kind} space: {first} has {space}, "
        f"{', '.join(map(str, unlike[:5]))}{' ...' if len(unlike) > 5 else ''} "
        f"{'have' if len(unlike) > 1 else 'has'} {found[unlike[0]]}; give parallel_env a wrapper "
        "that pads them to one shape, as pad_observations_v0 and pad_action_space_v0 of SuperSuit "
        "do"
    )
