"""One thing that was looked at."""

from dataclasses import dataclass
from typing import Literal

Health = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: what was looked at.
        health: ``warn`` where a run works but not well, ``fail`` where none would.
        seen: what was found.
        advice: what to do about it; empty where nothing is to be done.
    """

    subject: str
    health: Health
    seen: str
    advice: str = ""
