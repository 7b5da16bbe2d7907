"""The request headers that services read, for the API's description."""

from typing import Any

REAUTH_HEADER: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-Reauth",
            "in": "header",
            "required": False,
            "description": "The token of `POST /auth/reauthenticate`. A sign-in of this session "
            "within the last 15 minutes proves the same.",
            "schema": {"type": "string"},
        }
    ]
}
