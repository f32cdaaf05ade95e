"""What is set once, when a town is founded: places, homes, tempers and shifts."""

from journeyman.env.town.scenarios import Layout
from journeyman.env.town.state import NOTHING, TownState, allocate
from journeyman.settings.env import TownSettings


def found_town(settings: TownSettings, layout: Layout, worlds: int) -> TownState:
    """Returns worlds built to a layout, in which no episode has begun yet.

    Agent ``a`` has shift ``a`` modulo their number; tempers are taken in turn within each
    shift, so that none is tied to one job.
    """
    state = allocate(worlds, layout.agents, len(layout.objects))
    for o, (kind, tile) in enumerate(layout.objects):
        state.objects["kind"][:, o] = kind
        state.objects["x"][:, o], state.objects["y"][:, o] = tile
    agents, shifts = state.agents, len(layout.shifts)
    for a, home in enumerate(layout.homes):
        agents["home_x"][:, a], agents["home_y"][:, a] = home
        temper = settings.personalities[a // max(1, shifts) % len(settings.personalities)]
        for trait in ("extroversion", "forgiveness", "ambition"):
            agents[trait][:, a] = getattr(temper, trait)
        agents["job"][:, a] = a % shifts if shifts else NOTHING
        if shifts:
            shift, site = layout.shifts[a % shifts], layout.sites[a % shifts]
            agents["shift_start"][:, a], agents["shift_end"][:, a] = shift.start, shift.end
            agents["shift_wage"][:, a] = shift.wage
            agents["site_x"][:, a], agents["site_y"][:, a] = site
    return state
