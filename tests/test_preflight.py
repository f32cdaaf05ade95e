"""What is refused before a run starts, beyond what the command line's tests see."""

from pathlib import Path

import pytest

from journeyman.composition import compose_settings
from journeyman.env import build
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.settings.root import Settings
from support.commands import TINY


def settings(tmp_path: Path, *more: str) -> Settings:
    return compose_settings([*TINY, "tracking=none", f"outputs={tmp_path}/outputs", *more])


def test_the_gate_fits_an_environment_that_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "event_names", lambda env: ())
    preflight([settings(tmp_path)])
    preflight([settings(tmp_path, "promotion.max_rate_increase={}")])
    with pytest.raises(UserError) as caught:
        preflight([settings(tmp_path, "promotion.max_rate_increase={faint: 0.5}")])
    assert list(caught.value.problems) == [
        "promotion.max_rate_increase: the environment counts no faint (it counts nothing); "
        "null judges what it calls harmful"
    ]
