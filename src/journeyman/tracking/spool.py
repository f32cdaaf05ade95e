"""What a store did not take by the end of a run, kept in the run folder to be delivered later."""

import json
import os
from collections import deque
from pathlib import Path

from journeyman.errors import UserError
from journeyman.tracking.operations import (
    Operation,
    RunReference,
    Store,
    from_line,
    perform,
    to_line,
)

FILE_NAME = "tracking_spool.jsonl"


def write_spool(run_dir: Path, uri: str, operations: list[Operation]) -> Path:
    """Appends operations to the run folder's spool and syncs it to the disk.

    The first line names the store; each further line is one operation, in order.
    """
    path = run_dir / FILE_NAME
    lines = [] if path.exists() else [{"tracking_uri": uri}]
    lines += [to_line(operation) for operation in operations]
    run_dir.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(line, allow_nan=False)}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    return path


def spooled_uri(run_dir: Path) -> str | None:
    """Returns the store a run folder's spool is meant for, or None where there is none."""
    path = run_dir / FILE_NAME
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        return str(json.loads(file.readline())["tracking_uri"])


def spools_below(folder: Path) -> list[Path]:
    """Returns the run folders in a folder, or that folder itself, that have a spool.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a run folder or an outputs folder")
    return sorted(path.parent for path in folder.rglob(FILE_NAME))


def deliver(run_dir: Path, store: Store) -> int:
    """Carries out a spool's operations and removes the file.

    After an error the file holds what is left, so that nothing is carried out twice.

    Returns:
        How many operations were carried out.

    Raises:
        UserError: a line is no operation.
    """
    path = run_dir / FILE_NAME
    runs: dict[str, RunReference] = {}
    operations: deque[Operation] = deque()
    with path.open(encoding="utf-8") as file:
        head = file.readline()
        for number, text in enumerate(file, start=2):
            try:
                operations.append(from_line(json.loads(text), runs))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}:{number} is no line of a spool: {error}") from error
    count = len(operations)
    try:
        while operations:
            perform(store, [operations[0]])
            operations.popleft()
    finally:
        if operations:
            left = "".join(f"{json.dumps(to_line(operation))}\n" for operation in operations)
            temporary = path.with_name(f"{path.name}.tmp")
            temporary.write_text(head + left, encoding="utf-8")
            temporary.replace(path)
        else:
            path.unlink()
    return count
