"""How MLflow logs in to servers whose addresses hold a password.

What MLflow is told of an address is in its errors, its log and its tracebacks. So it is given
addresses without user and password, and its requests get these here, by a plugin of its own kind.
"""

import base64
import os
import threading
from typing import Any
from urllib.parse import urlsplit

from journeyman.tracking.address import StoreAddress

AUTH_VARIABLE = "MLFLOW_TRACKING_AUTH"
PLUGIN = "journeyman"

_PORTS = {"http": 80, "https": 443}
_logins: dict[str, tuple[str, str]] = {}
_registering = threading.Lock()
_registered = False


def know(address: StoreAddress) -> None:
    """Has requests to a server carry what its address holds, from now on."""
    if address.login is not None:
        _logins[address.plain] = address.login
        _register()
    set_variable()


def set_variable() -> None:
    """Has MLflow ask the plugin, if there is a login to be known and no other plugin is chosen."""
    if _logins:
        os.environ.setdefault(AUTH_VARIABLE, PLUGIN)
    elif os.environ.get(AUTH_VARIABLE) == PLUGIN:  # as another process has set it
        del os.environ[AUTH_VARIABLE]


def basic(login: tuple[str, str]) -> str:
    """Returns the header ``Authorization`` of a user and a password."""
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def login_for(url: str) -> tuple[str, str] | None:
    """Returns user and password for a request, which are those of its server and no other's."""
    same = {plain: login for plain, login in _logins.items() if _origin(plain) == _origin(url)}
    path = urlsplit(url).path
    # Of servers behind one host the one whose path it is; else it is a server's artifacts.
    inside = [plain for plain in same if f"{path}/".startswith(f"{urlsplit(plain).path}/")]
    for plain in sorted(inside or same, key=len, reverse=True):
        return same[plain]
    return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _register() -> None:
    global _registered
    from mlflow.tracking.request_auth import registry
    from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider

    class Plugin(RequestAuthProvider):  # type: ignore[misc]
        def get_name(self) -> str:
            return PLUGIN

        def get_auth(self) -> Any:
            return _log_in

    with _registering:
        if not _registered:
            registry._request_auth_provider_registry.register(Plugin)
            _registered = True


def _log_in(request: Any) -> Any:
    """Completes a request of ``requests``; where no login is known, MLflow's own stays."""
    login = login_for(request.url)
    if login is not None:
        request.headers["Authorization"] = basic(login)
    return request
