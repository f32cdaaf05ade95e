"""What befalls the whole town: price spikes, blackouts, water outages, arranged meets."""

from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.rules.chance import draw, draw_integer
from journeyman.env.town.state import World


@compiled
def begins(clock: Any, until: int, per_day: float) -> bool:
    """Draws whether a perturbation begins in this tick; none does while it is under way."""
    return draw(clock) < per_day / 1440.0 and clock["tick"] >= until


@compiled
def perturb(world: World, constants: Constants) -> None:
    """Begins perturbations; each is over when the clock reaches its end."""
    clock, numbers = world.clock, constants.numbers
    tick = clock["tick"]
    if begins(clock, clock["price_until"], numbers["perturbations_price_spike_per_day"]):
        clock["price_until"] = tick + draw_integer(
            clock,
            numbers["perturbations_price_spike_min_ticks"],
            numbers["perturbations_price_spike_max_ticks"],
        )
        low = numbers["perturbations_price_spike_min_factor"]
        high = numbers["perturbations_price_spike_max_factor"]
        clock["price_factor"] = low + (high - low) * draw(clock)
    if begins(clock, clock["blackout_until"], numbers["perturbations_blackout_per_day"]):
        clock["blackout_until"] = tick + draw_integer(
            clock,
            numbers["perturbations_blackout_min_ticks"],
            numbers["perturbations_blackout_max_ticks"],
        )
    if begins(clock, clock["outage_until"], numbers["perturbations_outage_per_day"]):
        clock["outage_until"] = tick + draw_integer(
            clock,
            numbers["perturbations_outage_min_ticks"],
            numbers["perturbations_outage_max_ticks"],
        )
    if begins(clock, clock["meet_until"], numbers["perturbations_arranged_meet_per_day"]):
        clock["meet_until"] = tick + draw_integer(
            clock,
            numbers["perturbations_arranged_meet_min_ticks"],
            numbers["perturbations_arranged_meet_max_ticks"],
        )
        clock["meet_x"] = draw_integer(clock, 0, numbers["grid"] - 1)
        clock["meet_y"] = draw_integer(clock, 0, numbers["grid"] - 1)
