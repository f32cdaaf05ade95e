"""An MLflow server asked by HTTP, with certificates and logins as MLflow has them; no MLflow."""

import configparser
import contextlib
import http.client
import json
import netrc
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, StoreAway, deleted_experiment
from journeyman.tracking.login import AUTH_VARIABLE, PLUGIN, basic

ANSWER_SECONDS = 4.0
"""How long a server has for all that it is asked in a check."""

_INSECURE_VARIABLE = "MLFLOW_TRACKING_INSECURE_TLS"
_AUTHORITY_VARIABLE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_CERTIFICATE_VARIABLE = "MLFLOW_TRACKING_CLIENT_CERT_PATH"
_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_HEADER_PLUGINS = "mlflow.request_header_provider"
NO_ANSWER = (OSError, ValueError, http.client.HTTPException)
"""What ``ask`` raises for a server, an answer that is an error among it."""


def check_server(address: StoreAddress, experiment: str | None) -> None:
    """Checks that a server is well, and that it is MLflow's and lets one in.

    Args:
        address: of a server.
        experiment: what it is asked for by name; None: only for its health.

    Raises:
        StoreAway: it does not answer, not as MLflow does, or refuses the login.
        UserError: the experiment was deleted there, or certificates cannot be read.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    _check_health(address)
    if experiment is not None:
        _check_experiment(address, experiment, max(0.5, deadline - time.monotonic()))


def ask(
    address: StoreAddress, path: str, *, seconds: float, body: dict[str, Any] | None = None
) -> bytes:
    """Returns what a server answers to a path below its address.

    Raises:
        urllib.error.HTTPError: an answer that is an error.
        OSError: there is none.
        http.client.HTTPException: it is none.
        UserError: certificates cannot be read.
    """
    request = urllib.request.Request(
        f"{address.plain}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    workspace = os.environ.get("MLFLOW_WORKSPACE")
    if workspace:
        request.add_header("X-MLFLOW-WORKSPACE", workspace)
    authorization = _authorization(address)
    if authorization is not None:
        request.add_unredirected_header("Authorization", authorization)  # to no other server
    opener = urllib.request.build_opener(_Https)
    with opener.open(request, timeout=seconds) as answer:
        return bytes(answer.read())


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(http.client.HTTPSConnection, request, context=tls_context())


def tls_context() -> ssl.SSLContext:
    """Returns whom to trust, and what to show, by the variables that MLflow and requests read.

    Raises:
        UserError: they exclude one another, or name what cannot be read.
    """
    authority = os.environ.get(_AUTHORITY_VARIABLE)
    insecure = os.environ.get(_INSECURE_VARIABLE, "").lower() in ("true", "1")
    if authority is not None and insecure:
        raise UserError(
            f"{_INSECURE_VARIABLE} and {_AUTHORITY_VARIABLE} exclude one another; unset one of them"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust(context, authority)
    own = os.environ.get(_CERTIFICATE_VARIABLE)
    if own is not None:
        try:
            context.load_cert_chain(own)
        except OSError as error:  # ssl's own are OSErrors, too
            raise UserError(
                f"{_CERTIFICATE_VARIABLE}={own} is no certificate with its key ({error})"
            ) from error
    return context


def _trust(context: ssl.SSLContext, authority: str | None) -> None:
    source, path = _AUTHORITY_VARIABLE, authority
    for name in _BUNDLE_VARIABLES:
        if path is None and os.environ.get(name):
            source, path = name, os.environ[name]
    if path is None:
        try:
            import certifi  # whose list requests takes
        except ImportError:
            context.load_default_certs()
            return
        source, path = "certifi", certifi.where()
    try:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        raise UserError(f"{source}={path} names no certificates ({error})") from error


def _authorization(address: StoreAddress) -> str | None:
    """Returns the header that MLflow would send, as far as it needs no plugin."""
    if address.login is not None:
        return basic(address.login)
    found = _netrc(urllib.parse.urlsplit(address.plain).hostname or "") or _given_login()
    if found is not None:
        return basic(found)
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def _netrc(host: str) -> tuple[str, str] | None:
    """Returns what ``requests`` puts before all else but an address's own login."""
    given = os.environ.get("NETRC")
    names = [given] if given else ["~/.netrc", "~/_netrc"]
    for path in (Path(name).expanduser() for name in names):
        if path.is_file():
            try:
                found = netrc.netrc(path).authenticators(host)
            except (netrc.NetrcParseError, OSError):
                return None
            return None if found is None else (found[0] or found[1] or "", found[2] or "")
    return None


def _given_login() -> tuple[str, str] | None:
    file = configparser.ConfigParser()
    # What is wrong with it, MLflow will say.
    with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
        file.read(Path("~/.mlflow/credentials").expanduser())
    of_file = dict(file.items("mlflow", raw=True)) if file.has_section("mlflow") else {}
    user, password = (
        os.environ.get(name) or of_file.get(name.lower())
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    )
    return (user, password) if user and password else None


def _plugin_logs_in() -> bool:
    """Says whether requests of MLflow carry what can be known with MLflow only."""
    chosen = os.environ.get(AUTH_VARIABLE, PLUGIN)
    signed = os.environ.get("MLFLOW_TRACKING_AWS_SIGV4", "").lower() in ("true", "1")
    return chosen != PLUGIN or signed or bool(entry_points(group=_HEADER_PLUGINS))


def _check_health(address: StoreAddress) -> None:
    try:
        ask(address, "/health", seconds=ANSWER_SECONDS)
        return
    except urllib.error.HTTPError as error:
        # 401, 403 or 404 come from a server that is there (a login, a proxy's prefix).
        if error.code < 500:
            return
        reason = f"answered {error.code} on /health"
    except NO_ANSWER as error:
        reason = _no_answer(error)
    raise _away(address, reason, "start it, correct the address, or use tracking=none")


def _check_experiment(address: StoreAddress, name: str, seconds: float) -> None:
    query = urllib.parse.urlencode({"experiment_name": name})
    path = "/api/2.0/mlflow/experiments/get-by-name"
    try:
        answer = _read(ask(address, f"{path}?{query}", seconds=seconds))
    except urllib.error.HTTPError as error:
        with error:
            said = _read(error.read())
        if said.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
            return
        if error.code in (401, 403):
            if not _plugin_logs_in():
                raise _not_let_in(address, error.code) from error
            return
        reason = f"answered {error.code} on {path}"
        if "error_code" in said:
            reason += f" ({said['error_code']}: {' '.join(str(said.get('message')).split())[:300]})"
        elif error.code < 500:
            raise _no_mlflow(address, f"{path} is answered {error.code}") from error
    except NO_ANSWER as error:
        reason = _no_answer(error)
    else:
        found = answer.get("experiment")
        if not isinstance(found, dict):
            raise _no_mlflow(address, f"{path} is answered by something else")
        if found.get("lifecycle_stage") == "deleted":
            raise deleted_experiment(address, name)
        return
    raise _away(address, reason, "mend it, correct the address, or use tracking=none")


def _read(body: bytes) -> dict[str, Any]:
    """Returns the JSON object that an answer is; empty: it is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _no_answer(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted ({reason.verify_message}; "
            f"{_AUTHORITY_VARIABLE} or REQUESTS_CA_BUNDLE names who signed it)"
        )
    return f"gave no answer ({reason})"


def _away(address: StoreAddress, reason: str, advice: str) -> StoreAway:
    return StoreAway(
        f"the MLflow server {address.shown} (from {address.source}) {reason}; {advice}"
    )


def _not_let_in(address: StoreAddress, code: int) -> StoreAway:
    sent = _authorization(address)
    what = "a request without login" if sent is None else f"this {sent.partition(' ')[0]} login"
    return _away(
        address,
        f"refuses {what} ({code})",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, "
        "or write http://user:password@host",
    )


def _no_mlflow(address: StoreAddress, reason: str) -> StoreAway:
    return _away(
        address,
        f"is none of MLflow's: {reason}",
        "correct the address, with the path that MLflow is at, if it has one",
    )
