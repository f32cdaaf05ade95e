"""Errors that are the user's to mend: shown as lines, never as tracebacks."""

from collections.abc import Sequence


class UserError(Exception):
    """Something in the config, the data or the machine is not as it must be.

    The command line prints each problem on a line of its own and exits with code 2.

    Attributes:
        problems: one sentence each: what is wrong, where, and what would be right.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        super().__init__("\n".join(self.problems))


class TorchNotAvailableError(UserError):
    """A strategy that trains was chosen on an installation without torch."""

    def __init__(self, strategy: str) -> None:
        super().__init__(
            f"strategy={strategy} trains a network and needs torch, which is not installed; "
            'install it with: pip install "journeyman[torch]"'
        )


class TrainingError(Exception):
    """The work cannot go on: an environment failed, or a number is not finite; exit code 1.

    The message says where; the last checkpoint remains.
    """


class NotFiniteError(TrainingError):
    """Training met a NaN or an infinity, its own or an environment's.

    The message names the tensor, dataset, update and minibatch, or the environment, lane and
    step. Other than a failure of the environment, smaller steps may help against it
    (``on_nan: rollback``).
    """


def in_a_line(error: BaseException) -> str:
    """Returns an error's type and what it says, on one line however many it has.

    >>> in_a_line(RuntimeError("the engine stalled:\\n  no fuel"))
    'RuntimeError: the engine stalled: no fuel'
    >>> in_a_line(KeyboardInterrupt())
    'KeyboardInterrupt'
    """
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
