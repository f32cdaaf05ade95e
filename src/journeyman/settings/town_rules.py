"""The constants of the town's rules, as sections of config group ``env``."""

from typing import Self

from pydantic import Field, model_validator

from journeyman.settings.base import Section

DAY_TICKS = 1440
"""A tick is a minute."""


def _ordered(section: Section, low: str, high: str) -> None:
    if getattr(section, low) > getattr(section, high):
        raise ValueError(
            f"{low} {getattr(section, low)} exceeds {high} {getattr(section, high)}; "
            "raise the one or lower the other"
        )


class NeedsSettings(Section):
    """Hunger, hygiene and energy, each in [0, 1]; 1 = satisfied."""

    hunger_decay: float = Field(ge=0.0, le=1.0)
    """Hunger lost a tick."""
    hygiene_decay: float = Field(ge=0.0, le=1.0)
    """Hygiene lost a tick."""
    energy_decay: float = Field(ge=0.0, le=1.0)
    """Energy lost a tick."""
    faint_below: float = Field(ge=0.0, lt=1.0)
    """Hunger or energy at or below this: the agent faints."""
    start_low: float = Field(gt=0.0, le=1.0)
    """Needs at the start of an episode are uniform from here ..."""
    start_high: float = Field(gt=0.0, le=1.0)
    """... to here."""
    respawn: float = Field(gt=0.0, le=1.0)
    """Every need after a faint or an eviction."""

    @model_validator(mode="after")
    def _alive(self) -> Self:
        _ordered(self, "start_low", "start_high")
        if min(self.start_low, self.respawn) <= self.faint_below:
            raise ValueError(
                f"start_low and respawn must exceed faint_below {self.faint_below}, "
                "or agents faint at once"
            )
        return self


class AffordanceSettings(Section):
    """What using an object does; effects accrue evenly over its ticks."""

    ticks: int = Field(ge=1, le=DAY_TICKS)
    """Duration in ticks."""
    hunger: float = Field(ge=-1.0, le=1.0)
    """Change of hunger over the whole use."""
    hygiene: float = Field(ge=-1.0, le=1.0)
    """Change of hygiene over the whole use."""
    energy: float = Field(ge=-1.0, le=1.0)
    """Change of energy over the whole use."""
    price: float = Field(ge=0.0, le=100.0)
    """Money paid over the whole use; whoever has less is refused."""
    meals: int = Field(ge=0, le=100)
    """Meals put into the nearest fridge when the use is completed."""


class AffordancesSettings(Section):
    """The four things objects are good for."""

    eat_meal: AffordanceSettings
    """At a fridge; takes one meal out of it."""
    cook_meal: AffordanceSettings
    """At a stove; needs power."""
    use_shower: AffordanceSettings
    """At a shower; needs power and water."""
    rest_sleep: AffordanceSettings
    """At a bed."""


class FoodSettings(Section):
    """Meals in the fridges."""

    start: int = Field(ge=0, le=1000)
    """Meals in each fridge at the start."""
    capacity: int = Field(ge=1, le=1000)
    """Meals a fridge holds at most."""
    restock_per_day: float = Field(ge=0.0, le=1440.0)
    """Meals delivered to each fridge a day, evenly spread."""

    @model_validator(mode="after")
    def _room(self) -> Self:
        _ordered(self, "start", "capacity")
        return self


class MoneySettings(Section):
    """Wallets; never below zero."""

    start: float = Field(ge=0.0, le=1000.0)
    """Money of each agent at the start of an episode."""


class QueueSettings(Section):
    """Objects have one user; the others queue."""

    limit: int = Field(ge=1, le=8)
    """Agents a queue holds."""
    crowd_distance: float = Field(ge=0.0, le=1000.0)
    """Tiles by which each person at an object makes it seem farther."""
    wait_weight: float = Field(ge=0.0, le=10.0)
    """Next is the least of place in the queue minus this times ticks waited."""
    goodwill_index_weight: float = Field(ge=0.0, le=10.0)
    """Goodwill of the last user towards a waiter falls by this for each place in the queue."""
    cooldown: int = Field(ge=0, le=DAY_TICKS)
    """Ticks until one may use or queue for the same object again."""
    idle_ticks: int = Field(ge=0, le=DAY_TICKS)
    """An occupant who does nothing is moved on after this many ticks."""
    patience: int = Field(ge=0, le=DAY_TICKS)
    """A waiter blocked for more ticks than this starts a conflict."""
    conflict_interval: int = Field(ge=1, le=DAY_TICKS)
    """Ticks between two conflicts of the same actor and rival."""
    conflict_base: float = Field(ge=0.0, le=100.0)
    """Intensity of a conflict in a queue of one."""
    conflict_per_waiter: float = Field(ge=0.0, le=100.0)
    """Added for each further waiter."""
    conflict_min: float = Field(ge=0.0, le=100.0)
    """Lower bound of the intensity."""
    conflict_max: float = Field(ge=0.0, le=100.0)
    """Upper bound of the intensity."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        _ordered(self, "conflict_min", "conflict_max")
        return self


class RelationshipSettings(Section):
    """Trust and familiarity in [-1, 1], rivalry in [0, 1], of each agent towards each other."""

    rivalry_per_intensity: float = Field(ge=0.0, le=1.0)
    """Rivalry gained in a conflict for each unit of intensity, less by forgiveness."""
    rivalry_decay: float = Field(ge=0.0, le=1.0)
    """Rivalry lost a tick."""
    rival_at: float = Field(gt=0.0, le=1.0)
    """From this rivalry on somebody is a rival, whom one may avoid."""
    start_rivalry: float | None = Field(ge=0.0, le=1.0)
    """Rivalry at the start of an episode within each pair of agents (0 and 1, 2 and 3, ...);
    null: as the scenario says."""
    chat_trust: float = Field(ge=-1.0, le=1.0)
    """Trust gained by a good chat, times its quality."""
    chat_familiarity: float = Field(ge=-1.0, le=1.0)
    """Familiarity gained by a good chat, times its quality."""
    chat_failure_familiarity: float = Field(ge=-1.0, le=1.0)
    """Change of familiarity by a failed chat."""
    chat_failure_rivalry: float = Field(ge=0.0, le=1.0)
    """Rivalry gained by a failed chat."""
    meal_distance: int = Field(ge=0, le=100)
    """Tiles within which two who eat share a meal."""
    meal_trust: float = Field(ge=-1.0, le=1.0)
    """Trust gained by a shared meal."""
    meal_familiarity: float = Field(ge=-1.0, le=1.0)
    """Familiarity gained by a shared meal."""
    help_trust: float = Field(ge=-1.0, le=1.0)
    """Trust gained when a punctual colleague covers a late one."""
    help_familiarity: float = Field(ge=-1.0, le=1.0)
    """Familiarity gained by that."""
    help_rivalry: float = Field(ge=-1.0, le=1.0)
    """Change of rivalry by that."""
    takeover_trust: float = Field(ge=-1.0, le=1.0)
    """Change of trust when a colleague takes over a missed shift."""
    takeover_rivalry: float = Field(ge=-1.0, le=1.0)
    """Change of rivalry by that."""


class ChatSettings(Section):
    """Quality = base + the terms below, within bounds; a chat succeeds with that probability."""

    cooldown: int = Field(ge=0, le=DAY_TICKS)
    """Ticks until either partner may chat again."""
    base: float = Field(ge=0.0, le=1.0)
    """Quality between strangers of no extroversion."""
    extroversion: float = Field(ge=-1.0, le=1.0)
    """Times the speaker's extroversion."""
    trust: float = Field(ge=-1.0, le=1.0)
    """Times the speaker's trust."""
    familiarity: float = Field(ge=-1.0, le=1.0)
    """Times the speaker's familiarity."""
    rivalry: float = Field(ge=-1.0, le=1.0)
    """Times the speaker's rivalry."""
    quality_min: float = Field(ge=0.0, le=1.0)
    """Lower bound of the quality."""
    quality_max: float = Field(ge=0.0, le=1.0)
    """Upper bound of the quality."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        _ordered(self, "quality_min", "quality_max")
        return self


class ShiftSettings(Section):
    """A daily shift at a site; the sites are the distinct names."""

    name: str = Field(min_length=1, max_length=50)
    """Name of the site; its shifts may not overlap."""
    start: int = Field(ge=0, lt=DAY_TICKS)
    """First tick of the day."""
    end: int = Field(ge=1, le=DAY_TICKS)
    """Tick of the day at which it is over."""
    wage: float = Field(ge=0.0, le=1.0)
    """Money a tick worked."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"shift {self.name}: start {self.start} is not before end {self.end}")
        return self


class JobsSettings(Section):
    """Work: agent ``a`` has shift ``a`` modulo the number of shifts."""

    shifts: tuple[ShiftSettings, ...] | None
    """The shifts; empty: nobody works; null: as the scenario says."""
    grace: int = Field(ge=0, le=DAY_TICKS)
    """Ticks after the start that still count as on time."""
    late_fine: float = Field(ge=0.0, le=1.0)
    """Money lost for each late tick."""
    absent_after: int = Field(ge=1, le=DAY_TICKS)
    """Who is not there this many ticks after the start has missed the shift."""
    absence_fine: float = Field(ge=0.0, le=10.0)
    """Money lost by a missed shift."""
    evict_absences: int = Field(ge=1, le=60)
    """Missed shifts that lead to eviction ..."""
    evict_days: int = Field(ge=1, le=60)
    """... if they fall within this many days."""

    @model_validator(mode="after")
    def _possible_shifts(self) -> Self:
        if self.grace >= self.absent_after:
            raise ValueError(f"grace {self.grace} must be below absent_after {self.absent_after}")
        if self.evict_absences > self.evict_days:
            raise ValueError(
                f"evict_absences {self.evict_absences} exceeds evict_days {self.evict_days}, of "
                "which each has one shift to miss: nobody would ever be evicted"
            )
        for i, one in enumerate(self.shifts or ()):
            for other in (self.shifts or ())[:i]:
                if one.name == other.name and one.start < other.end and other.start < one.end:
                    raise ValueError(
                        f"shifts of {one.name} overlap: {other.start}-{other.end} and "
                        f"{one.start}-{one.end}; end one before the other starts"
                    )
        return self


class PerturbationSettings(Section):
    """Something that befalls the whole town for a while."""

    per_day: float = Field(ge=0.0, le=100.0)
    """Expected number a day while none is under way."""
    min_ticks: int = Field(ge=1, le=DAY_TICKS)
    """Shortest duration."""
    max_ticks: int = Field(ge=1, le=DAY_TICKS)
    """Longest duration."""

    @model_validator(mode="after")
    def _durations(self) -> Self:
        _ordered(self, "min_ticks", "max_ticks")
        return self


class PriceSpikeSettings(PerturbationSettings):
    """All prices rise."""

    min_factor: float = Field(gt=0.0, le=100.0)
    """Least factor on prices."""
    max_factor: float = Field(gt=0.0, le=100.0)
    """Greatest factor on prices."""

    @model_validator(mode="after")
    def _factors(self) -> Self:
        _ordered(self, "min_factor", "max_factor")
        return self


class ArrangedMeetSettings(PerturbationSettings):
    """A place where chats go better."""

    radius: int = Field(ge=0, le=100)
    """Tiles around it that belong to the place."""
    quality_bonus: float = Field(ge=0.0, le=1.0)
    """Added to the quality of a chat there."""


class PerturbationsSettings(Section):
    """The four perturbations; ``per_day: 0`` switches one off."""

    price_spike: PriceSpikeSettings
    """Prices times a factor."""
    blackout: PerturbationSettings
    """Stoves and showers off."""
    outage: PerturbationSettings
    """Showers off."""
    arranged_meet: ArrangedMeetSettings
    """Better chats at one place."""
