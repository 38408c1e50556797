"""What the OpenAPI document at ``/api/schema`` says beside the operations."""

from __future__ import annotations

from typing import Any

SPECTACULAR: dict[str, Any] = {
    "TITLE": "SIGMA WhatsApp connector",
    "DESCRIPTION": "Send WhatsApp messages over HTTP with JSON. GraphQL at `/graphql` does the "
    "same, and reads.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    # The viewer's files come from here, not from another server.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": ["messaging.rest.openapi.add_components"],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    },
    "SECURITY": [{"bearer": []}, {"key": []}],
}
