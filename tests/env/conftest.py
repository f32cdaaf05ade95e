"""Environments for tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from journeyman.env.gymnasium import GymnasiumEnv
from journeyman.settings.env import TownSettings
from support.gym_play import Make, settings_of
from support.town import Stage, town_settings


@pytest.fixture
def settings() -> Callable[..., TownSettings]:
    return town_settings


@pytest.fixture
def stage() -> Callable[..., Stage]:
    return Stage


@pytest.fixture
def make_gymnasium() -> Iterator[Make]:
    made: list[GymnasiumEnv] = []

    def build(id_: str, *, lanes: int = 2, **changes: Any) -> GymnasiumEnv:
        made.append(GymnasiumEnv(settings_of(id_, **changes), num_worlds=lanes))
        return made[-1]

    yield build
    for env in made:
        env.close()
