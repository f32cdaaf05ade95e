"""One Gymnasium environment from its settings; what is wrong with them is said in their words."""

import difflib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from journeyman.env.importing import import_named
from journeyman.env.wrappers import find_wrappers
from journeyman.errors import UserError, in_a_line
from journeyman.settings.external_env import GymnasiumSettings

GymEnv = gymnasium.Env[Any, Any]


def registered_spec(env_id: str) -> EnvSpec:
    """Returns what Gymnasium knows under an id; imports ``module`` of ``module:Name-v0`` first.

    Modules in the working folder are found, after all others.

    Raises:
        UserError: if the module cannot be imported or the id is unknown.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_named(module, key="env.id")
    spec = gymnasium.registry.get(name)
    if spec is None:
        known = sorted(gymnasium.registry)
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else "module:Name-v0 imports one's own"
        raise UserError(f"env.id: no such environment is registered (got {name}; {hint})")
    return spec


def env_maker(
    settings: GymnasiumSettings, *, render_mode: str | None = None
) -> Callable[[], GymEnv]:
    """Returns what builds one environment; it can be sent to another process.

    Args:
        settings: which environment, and what is put round it.
        render_mode: as Gymnasium's; None: as ``env.kwargs`` says.

    Raises:
        UserError: if the id or a wrapper is unknown.
    """
    spec = registered_spec(settings.id)
    wrappers = find_wrappers(settings.wrappers)
    kwargs: dict[str, Any] = dict(settings.kwargs or {})
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    limit = settings.max_episode_steps

    def make() -> GymEnv:
        with quiet_gymnasium():
            env = _said_of(
                f"env.id={settings.id}: cannot be built",
                lambda: gymnasium.make(
                    spec, max_episode_steps=limit, disable_env_checker=True, **kwargs
                ),
            )
            for wrap, arguments in wrappers:
                name = getattr(wrap, "__name__", str(wrap))
                env = _said_of(f"env.wrappers: {name} cannot be put on", wrap, env, **arguments)
        return env

    return make


def _said_of(about: str, build: Callable[..., GymEnv], *args: Any, **kwargs: Any) -> GymEnv:
    try:
        return build(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{about} ({in_a_line(error)})") from error


@contextmanager
def quiet_gymnasium() -> Iterator[None]:
    """Silences what Gymnasium remarks of environments that the user did not write."""
    with warnings.catch_warnings():
        for message in (
            ".*is out of date.*",
            ".*precision lowered by casting.*",
            ".*Box.*minimum value.*",
            ".*Box.*maximum value.*",
        ):
            warnings.filterwarnings("ignore", message=message)
        yield
