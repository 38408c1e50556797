"""Who is asking: bearer tokens, proofs, and what a token may see.

https://developers.facebook.com/docs/graph-api/guides/secure-requests
"""

from __future__ import annotations

import hmac
from functools import lru_cache

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.http import GraphCall, HttpAnswer, Request, answer
from connectors.simulator.meta.simulator import Simulator
from connectors.simulator.meta.world import SCOPES, App, BusinessAccount, Json, Token

MESSAGING, MANAGEMENT = SCOPES


def call_of(sim: Simulator, request: Request) -> GraphCall:
    """Return a request with whoever makes it.

    Raises:
        GraphError: 190 with or without a subcode, 100 for a wrong or missing proof.
    """
    document = request.document()
    token = _token(sim, _bearer(request, document))
    app = sim.registry.apps.get(token.app_id)
    if app is None:
        raise GraphError(190, title="Error validating application. Application has been deleted.")
    proof = request.query.get("appsecret_proof") or document.get("appsecret_proof")
    if proof is None and app.requires_proof:
        raise GraphError(100, title="API calls from the server require an appsecret_proof argument")
    if proof is not None and not hmac.compare_digest(str(proof), _proof(app.secret, token.token)):
        raise GraphError(100, title="Invalid appsecret_proof provided in the API argument")
    return GraphCall(request, document, token, app)


def check_scope(token: Token, scope: str) -> None:
    """Check that a token has a permission; an empty one everybody has.

    Raises:
        GraphError: 10 or 200.
    """
    if scope and scope not in token.scopes:
        raise GraphError(10 if scope == MESSAGING else 200)


def may_see(token: Token, account: BusinessAccount) -> bool:
    """Whether a token was granted an account."""
    return not token.accounts or account.id in token.accounts


def debug_token(sim: Simulator, call: GraphCall) -> HttpAnswer:
    """Describe the token in ``input_token``; only its own app may ask.

    Raises:
        GraphError: 100, nothing given, or the token of another app.
    """
    given = call.argument("input_token")
    if not given:
        raise GraphError(100, title="The parameter input_token is required")
    token = sim.registry.tokens.get(given)
    if token is None:
        error = {"code": 190, "message": "Invalid OAuth access token."}
        return answer({"data": {"error": error, "is_valid": False, "scopes": []}})
    if token.app_id != call.app.id:
        raise GraphError(
            100,
            title="You must provide an app access token, or a user access "
            "token that is an owner or developer of the app",
        )
    return answer({"data": _described(sim, token, call.app)})


def _described(sim: Simulator, token: Token, app: App) -> Json:
    accounts = token.accounts or list(sim.registry.accounts)
    is_expired = token.expires_at is not None and token.expires_at <= sim.clock.now()
    data: Json = {
        "app_id": app.id,
        "type": "SYSTEM_USER",
        "application": app.name,
        "data_access_expires_at": 0,
        "expires_at": int(token.expires_at or 0),
        "is_valid": not (is_expired or token.is_revoked),
        "issued_at": int(sim.clock.now()) - 3600,
        "scopes": token.scopes,
        "granular_scopes": [{"scope": scope, "target_ids": accounts} for scope in token.scopes],
        "user_id": "122100000000000001",
    }
    if is_expired:
        message = "Error validating access token: Session has expired."
        data["error"] = {"code": 190, "message": message, "subcode": 463}
    return data


def _bearer(request: Request, document: Json) -> str:
    header = request.headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, token = header.partition(" ")
    if scheme.lower() in ("bearer", "oauth") and token:
        return token.strip()
    given = request.query.get("access_token") or document.get("access_token")
    if not given:
        raise GraphError(190, title="An access token is required to request this resource.")
    return str(given)


def _token(sim: Simulator, text: str) -> Token:
    token = sim.registry.tokens.get(text)
    if token is None:
        return _app_token(sim, text)
    if token.is_revoked:
        raise GraphError(
            190, subcode=467, title="Error validating access token: The session is invalid."
        )
    if token.expires_at is not None and token.expires_at <= sim.clock.now():
        raise GraphError(
            190, subcode=463, title="Error validating access token: Session has expired."
        )
    return token


def _app_token(sim: Simulator, text: str) -> Token:
    app_id, _, secret = text.partition("|")
    app = sim.registry.apps.get(app_id)
    if app is None or not hmac.compare_digest(secret.encode(), app.secret.encode()):
        raise GraphError(190, title="Invalid OAuth access token - Cannot parse access token")
    # It speaks for the app, which has no messages and no accounts.
    return Token(token=text, app_id=app_id, accounts=["0"], scopes=[])


@lru_cache(maxsize=1024)
def _proof(secret: str, token: str) -> str:
    return hmac.digest(secret.encode(), token.encode(), "sha256").hex()
