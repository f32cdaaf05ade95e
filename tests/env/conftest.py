"""Towns for tests."""

from collections.abc import Callable

import pytest

from journeyman.settings.env import TownSettings
from support.town import Stage, town_settings


@pytest.fixture
def settings() -> Callable[..., TownSettings]:
    return town_settings


@pytest.fixture
def stage() -> Callable[..., Stage]:
    return Stage
