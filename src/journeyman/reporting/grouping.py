"""Which jobs are samples of one configuration, and what tells it from the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from journeyman.tracking.configuration import SILENT
from journeyman.tracking.history import JobHistory

_HOW = (*SILENT, "launch", "sweep", "hydra")
_MOST_NAMED = 4


@dataclass(frozen=True)
class Group:
    """Jobs that differ in their seed alone, and the words for what they are."""

    label: str
    jobs: tuple[JobHistory, ...]


def group_jobs(jobs: Sequence[JobHistory]) -> tuple[tuple[str, ...], list[Group]]:
    """Sorts jobs into configurations.

    The config decides, where it is known: a rerun is given other words than its original, and
    a run from Python none. A job that never began has but its overrides.

    Returns:
        The overrides that all jobs have in common, and the configurations in order of appearance.
    """
    said = [_essence(job) for job in jobs]
    digests = {words: job.digest for words, job in zip(said, jobs, strict=True) if job.digest}
    members: dict[str | tuple[str, ...], list[JobHistory]] = {}
    words_of: dict[str | tuple[str, ...], tuple[str, ...]] = {}
    for words, job in zip(said, jobs, strict=True):
        key = job.digest or digests.get(words) or words
        members.setdefault(key, []).append(job)
        words_of[key] = words_of.get(key) or words
    every = [*words_of.values()]
    shared = set.intersection(*map(set, every)) if len(every) > 1 else set()
    known = {key: params for key, group in members.items() if (params := _params(group))}
    groups = []
    for key, group in members.items():
        words = words_of[key]
        label = [word for word in words if word not in shared]
        if not words or every.count(words) > 1:
            alike = [other for other in known if not words or words_of[other] == words]
            label += _peculiar(known.get(key, {}), [known[other] for other in alike])
        groups.append(Group(" ".join(label) or "as configured", tuple(group)))
    return tuple(word for word in every[0] if word in shared) if every else (), groups


def _essence(job: JobHistory) -> tuple[str, ...]:
    """Returns the overrides that make a configuration: no seed, nothing of where it was run."""
    return tuple(override for override in job.overrides if _root(override) not in _HOW)


def _root(override: str) -> str:
    return override.partition("=")[0].lstrip("+~").split(".")[0].split("/")[0]


def _params(jobs: Iterable[JobHistory]) -> Mapping[str, str]:
    return next((job.params for job in jobs if job.params), {})


def _peculiar(mine: Mapping[str, str], every: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns params whose values are not the same in all configurations, the telling ones first.

    Which kind a part is of tells more than its numbers, and those of a part that others lack are
    theirs alone.
    """
    differing = [
        key
        for key, value in mine.items()
        if _root(key) not in _HOW and any(other.get(key) != value for other in every)
    ]
    differing.sort(key=lambda key: (not key.endswith(".kind"), key.count("."), key))
    return [f"{key}={mine[key]}" for key in differing[:_MOST_NAMED]]
