"""Config group ``env``: the world that is played in.

Null means "as the scenario says"; the table of scenarios is in
``journeyman.env.town.scenarios``.
"""

from typing import Annotated, Literal

from pydantic import Field

from journeyman.settings.base import Section
from journeyman.settings.external_env import GymnasiumSettings, PettingZooSettings
from journeyman.settings.town_rules import (
    DAY_TICKS,
    AffordancesSettings,
    ChatSettings,
    FoodSettings,
    JobsSettings,
    MoneySettings,
    NeedsSettings,
    PerturbationsSettings,
    QueueSettings,
    RelationshipSettings,
)


class RewardSettings(Section):
    """Reward a tick, before the social part."""

    base: float = Field(ge=-0.1, le=0.1)
    """For being there."""
    needs_scale: float = Field(ge=0.0, le=1.0)
    """Times the weighted sum of squared deficits, subtracted."""
    hunger_weight: float = Field(ge=0.0, le=2.0)
    """Weight of hunger's squared deficit."""
    hygiene_weight: float = Field(ge=0.0, le=2.0)
    """Weight of hygiene's squared deficit."""
    energy_weight: float = Field(ge=0.0, le=2.0)
    """Weight of energy's squared deficit."""
    punctuality: float = Field(ge=0.0, le=1.0)
    """At the end of a shift one was on time for; less when late."""
    clip: float = Field(gt=0.0, le=1.0)
    """The sum of all terms but faint and eviction is clipped to plus or minus this."""
    faint: float = Field(ge=0.0, le=2.0)
    """Subtracted at a faint, unclipped."""
    eviction: float = Field(ge=0.0, le=2.0)
    """Subtracted at an eviction, unclipped."""
    clip_per_episode: float | None = Field(gt=0.0, le=100_000.0)
    """An agent's sum over an episode, faint and eviction aside, is kept within plus or minus
    this; null: no bound. A bound makes the reward depend on history."""


class SocialTermsSettings(Section):
    """Magnitudes of the social rewards; config group ``social_reward`` says which count when."""

    chat_base: float = Field(ge=0.0, le=1.0)
    """C1: a good chat earns ``chat_scale * quality * (base + trust + familiarity)``."""
    chat_trust: float = Field(ge=0.0, le=1.0)
    """C1: times trust towards the partner."""
    chat_familiarity: float = Field(ge=0.0, le=1.0)
    """C1: times familiarity with the partner."""
    chat_scale: float = Field(ge=0.0, le=1.0)
    """C1: the common factor."""
    chat_need_floor: float = Field(ge=0.0, le=1.0)
    """C1: nothing for whoever has a need below this."""
    chat_failure_speaker: float = Field(ge=0.0, le=0.5)
    """C1: a failed chat costs the speaker this."""
    chat_failure_listener: float = Field(ge=0.0, le=0.5)
    """C1: and the listener this."""
    conflict_avoided: float = Field(ge=0.0, le=0.5)
    """C2: for leaving a queue because of a rival."""
    conflict_caused: float = Field(ge=0.0, le=0.05)
    """C2: costs this times the intensity of the conflict."""
    shared_meal: float = Field(ge=0.0, le=0.5)
    """C3: to each party, once a meal."""
    late_help: float = Field(ge=0.0, le=0.5)
    """C3: to who covered a late colleague."""
    takeover: float = Field(ge=0.0, le=0.5)
    """C3: costs this to have one's shift taken over."""


class PersonalitySettings(Section):
    """A temper; agents take them in turn."""

    name: str = Field(min_length=1, max_length=50)
    """What it is called."""
    extroversion: float = Field(ge=-1.0, le=1.0)
    """Makes chats better."""
    forgiveness: float = Field(ge=-1.0, le=1.0)
    """Share by which conflicts raise rivalry less."""
    ambition: float = Field(ge=-1.0, le=1.0)
    """Weight the demonstrator gives to work."""


class ObservationSettings(Section):
    """What agents see."""

    variant: Literal["hybrid", "full", "compact"]
    """The egocentric map beside the features: ``hybrid`` 4 channels of 11 x 11; ``full`` also the
    way to the most urgent need's object; ``compact`` 5 channels of 7 x 7."""
    personality: bool
    """Also show the agent its own personality (three features)."""


class ObjectsSettings(Section):
    """Number of objects of each kind; null: as the scenario says."""

    fridge: int | None = Field(ge=0, le=32)
    """Fridges, to eat from."""
    stove: int | None = Field(ge=0, le=32)
    """Stoves, to cook at."""
    shower: int | None = Field(ge=0, le=32)
    """Showers."""
    bed: int | None = Field(ge=0, le=32)
    """Beds."""


class TownSettings(Section):
    """The built-in town."""

    kind: Literal["town"]
    scenario: Literal[
        "neighbourhood",
        "kitchen_breakfast",
        "queue_conflict",
        "employment_punctuality",
        "rivalry_decay",
        "observation_baseline",
        "crowd",
    ]
    """Sets every layout key below that is null."""
    agents: int | None = Field(ge=1, le=1024)
    """Agents of a world; null: as the scenario says."""
    grid: int | None = Field(ge=4, le=256)
    """Side of the square grid in tiles; null: as the scenario says."""
    episode_ticks: int | None = Field(ge=1, le=60 * DAY_TICKS)
    """Ticks of an episode; null: as the scenario says."""
    objects: ObjectsSettings
    """How many objects of each kind there are."""
    needs: NeedsSettings
    affordances: AffordancesSettings
    food: FoodSettings
    money: MoneySettings
    queues: QueueSettings
    relationships: RelationshipSettings
    chat: ChatSettings
    personalities: tuple[PersonalitySettings, ...] = Field(min_length=1, max_length=32)
    """The tempers agents have, in turn."""
    jobs: JobsSettings
    perturbations: PerturbationsSettings
    reward: RewardSettings
    social: SocialTermsSettings
    observation: ObservationSettings


EnvSettings = Annotated[
    TownSettings | GymnasiumSettings | PettingZooSettings, Field(discriminator="kind")
]
"""Any environment there is."""
