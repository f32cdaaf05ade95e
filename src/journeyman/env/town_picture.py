"""Draws ``docs/images/town.png`` and ``town-crowd.png``: lively moments of two scenarios.

python -m journeyman.env.town_picture
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from journeyman.env.town.render import paint
from journeyman.env.town.scene import Scene, scene_of
from journeyman.env.town.shipped import shipped_settings
from journeyman.env.town.vector_env import TownVectorEnv

COMMAND = "python -m journeyman.env.town_picture"
IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"
PICTURES = {"town.png": "neighbourhood", "town-crowd.png": "crowd"}
"""File -> scenario."""
SEED = 0


def moments(scenario: str) -> Iterator[Scene]:
    """Yields every tick of an episode that the demonstrator plays."""
    env = TownVectorEnv(shipped_settings(scenario=scenario), num_worlds=1)
    obs, _ = env.reset(seed=SEED)
    player, rng = env.demonstrator(), np.random.default_rng(SEED)
    for _ in range(env.layout.episode_ticks - 1):
        obs = env.step(player.act(obs, rng).actions)[0]
        yield scene_of(env.settings, env.layout, env.town, 0)


def liveliness(scene: Scene) -> tuple[int, int]:
    """Returns how many kinds of things are to be seen in a scene, and how many things."""
    seen = (
        sum(agent.quarrels for agent in scene.agents),
        sum(agent.chats and not agent.quarrels for agent in scene.agents),
        sum(thing.queue_length for thing in scene.objects),
        sum(agent.doing == "works" for agent in scene.agents),
        *(sum(agent.activity == use for agent in scene.agents) for use in ("eats", "cooks")),
        *(sum(agent.activity == use for agent in scene.agents) for use in ("showers", "sleeps")),
        int(scene.meeting is not None),
    )
    return sum(count > 0 for count in seen), sum(seen)


def main() -> None:
    """Draws both."""
    for name, scenario in PICTURES.items():
        picture = paint(max(moments(scenario), key=liveliness))
        Image.fromarray(picture).save(IMAGES / name, optimize=True)
        print(IMAGES / name)


if __name__ == "__main__":
    main()
