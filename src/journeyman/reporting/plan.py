"""A schedule as a picture: its stages, and its weights drawn against environment steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from journeyman.settings.anneal import NO_GUIDE, StageSettings
from journeyman.settings.root import Settings
from journeyman.settings.schedule import Scheduled, ends_of, in_words, value_at
from journeyman.settings.strategy import PPOSettings

_COLUMNS = 64
_ROWS = 4
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Curve:
    """A weight at each column of the picture.

    Attributes:
        name: as in the stage's settings.
        values: one a column; all at least 0.
    """

    name: str
    values: tuple[float, ...]


def print_plan(settings: Settings, console: Console, *, lanes_per_world: int) -> None:
    """Prints the stages of ``settings.anneal`` and draws its weights; trains nothing.

    Args:
        settings: of a run with ``strategy=anneal``.
        console: where to.
        lanes_per_world: agents of a world, which make its transitions.
    """
    ppo = settings.ppo()
    assert ppo is not None
    per_update = ppo.worlds * ppo.rollout_ticks * lanes_per_world
    console.print(_stage_table(settings, ppo, per_update))
    practice = [stage for stage in settings.anneal.stages if stage.mode == "ppo"]
    total = sum(stage.epochs for stage in practice) * per_update
    if total == 0:
        console.print("no ppo stage: no environment steps, no curve to draw")
        return
    for curve in weight_curves(settings.anneal.stages, default_warmup=ppo.critic_warmup):
        for line in draw(curve, rows=1 if curve.name == "critic_warmup" else _ROWS):
            console.print(line, markup=False, highlight=False)
    for line in axis(settings.anneal.stages, total):
        console.print(line, markup=False, highlight=False)


def weight_curves(
    stages: Sequence[StageSettings], *, default_warmup: int = 0, columns: int = _COLUMNS
) -> list[Curve]:
    """Returns the weights that are ever above 0 against the environment steps of all stages.

    Stages of imitation spend no environment steps and have no column.

    Args:
        stages: in their order, at least one of them of practice.
        default_warmup: critic warm-up of stages that say nothing of it.
        columns: points of each curve, spread evenly over all updates.
    """
    updates = [
        (stage, index) for stage in stages if stage.mode == "ppo" for index in range(stage.epochs)
    ]
    chosen = [updates[column * len(updates) // columns] for column in range(columns)]

    def warming(stage: StageSettings, index: int) -> float:
        length = default_warmup if stage.critic_warmup is None else stage.critic_warmup
        return float(index < length)

    curves = (
        Curve("bc_weight", tuple(value_at(s.bc_weight, i, s.epochs) for s, i in chosen)),
        Curve("kl_weight", tuple(value_at(s.kl_weight, i, s.epochs) for s, i in chosen)),
        Curve("guide.ratio", tuple(value_at(s.guide.ratio, i, s.epochs) for s, i in chosen)),
        Curve("critic_warmup", tuple(warming(s, i) for s, i in chosen)),
    )
    return [curve for curve in curves if max(curve.values) > 0.0]


def draw(curve: Curve, rows: int = _ROWS) -> list[str]:
    """Returns a curve as lines of block characters under its name.

    >>> for line in draw(Curve("bc_weight", (1.0, 0.75, 0.5, 0.0)), rows=2):
    ...     print(line)
    bc_weight
         1 |█▄
           |███
    """
    top = max(curve.values)
    lines = [curve.name]
    for row in reversed(range(rows)):
        # A block has eight levels; a row shows what of the value lies in its slice of the scale.
        levels = [round(8 * (rows * value / top - row)) for value in curve.values]
        blocks = "".join(_BLOCKS[min(max(level, 0), 8)] for level in levels)
        label = f"{top:g}" if row == rows - 1 else ""
        lines.append(f"{label:>6} |{blocks}".rstrip())
    return lines


def axis(stages: Sequence[StageSettings], steps: int, columns: int = _COLUMNS) -> list[str]:
    """Returns where each ppo stage begins, and the environment steps at both ends."""
    updates = sum(stage.epochs for stage in stages if stage.mode == "ppo")
    marks, done = [" "] * columns, 0
    for number, stage in enumerate(stages):
        if stage.mode == "ppo":
            first = done * columns // updates
            for offset, letter in enumerate(f"^{number:02d}-ppo"[: columns - first]):
                marks[first + offset] = letter
            done += stage.epochs
    return [f"{'':>8}{''.join(marks)}".rstrip(), f"{'':>8}0{f'{steps:,} env steps':>{columns - 1}}"]


def _stage_table(settings: Settings, ppo: PPOSettings, per_update: int) -> Table:
    anneal = settings.anneal
    table = Table(
        title=f"schedule {anneal.label}: {len(anneal.stages)} stages",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("stage", "length", "env steps", "bc_weight", "kl_weight", "guide", "also"):
        table.add_column(name, justify="right" if name == "env steps" else "left")
    steps = 0
    for index, stage in enumerate(anneal.stages):
        practises = stage.mode == "ppo"
        steps += stage.epochs * per_update if practises else 0
        table.add_row(
            f"{index:02d}-{stage.mode}",
            f"{stage.epochs} {'updates' if practises else 'epochs'}",
            f"{steps:,}",
            _words(stage.bc_weight),
            _words(stage.kl_weight),
            "-" if stage.guide == NO_GUIDE else f"{stage.guide.kind} {_words(stage.guide.ratio)}",
            ", ".join(_extras(settings, ppo, stage)),
        )
    return table


def _extras(settings: Settings, ppo: PPOSettings, stage: StageSettings) -> list[str]:
    extras = []
    if stage.mode == "ppo":
        warmup = ppo.critic_warmup if stage.critic_warmup is None else stage.critic_warmup
        if warmup:
            extras.append(f"critic alone for {warmup}")
    social = settings.social_reward.stage_at(stage.cycle)
    if social != "OFF":
        extras.append(f"social {social}")
    for name in ("learning_rate", "entropy_coef", "clip", "target_kl"):
        value = getattr(stage, name)
        if value is not None:
            extras.append(f"{name} {_words(value)}")
    return extras


def _words(scheduled: Scheduled) -> str:
    return in_words(scheduled) if max(ends_of(scheduled)) > 0.0 else "-"
