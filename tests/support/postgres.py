"""A throw-away PostgreSQL server on 127.0.0.1."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.outages import free_port

USER = "keeper"


def binaries() -> Path | None:
    """Returns the folder of PostgreSQL's programs, or None where it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (found := shutil.which("pg_ctl")) is not None:
        folders.insert(0, Path(found).resolve().parent)
    whole = (folder for folder in folders if (folder / "initdb").exists())
    return next((folder for folder in whole if (folder / "pg_ctl").exists()), None)


@contextmanager
def postgres(password: str) -> Iterator[int]:
    """Runs a server with a user ``keeper`` and a database ``runs``; yields its port."""
    programs = binaries()
    assert programs is not None
    # Not pytest's own folder: another user may not look into it.
    folder = Path(tempfile.mkdtemp(prefix="journeyman-postgres-", dir="/tmp"))
    as_whom: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to work for root
        name = next(each for each in ("postgres", "nobody") if _exists(each))
        account = pwd.getpwnam(name)
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_whom = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
        as_whom.append("--clear-groups")
    data, port = folder / "data", free_port()
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)

    def do(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*as_whom, str(programs / program), *arguments],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "PGPASSWORD": password},
            capture_output=program != "pg_ctl",  # the server would hold its pipes open
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{program} of {getpass.getuser()}: {done.stderr}"

    try:
        do("initdb", "-D", str(data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off"
        options += " -c unix_socket_directories=''"
        log = ("-l", str(folder / "log"), "-o", options, "-w", "-t", "60")
        do("pg_ctl", "-D", str(data), "-s", *log, "start")
        try:
            do("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", USER, "runs")
            yield port
        finally:
            do("pg_ctl", "-D", str(data), "-s", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
