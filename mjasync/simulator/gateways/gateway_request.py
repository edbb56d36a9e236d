"""An authenticated request to a gateway, and the structs of its body (PROTOCOL §7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs

from .go_json import GoJsonError, GoStruct, decode

if TYPE_CHECKING:
    from ..routes import MatchedRoute
    from ..sim_task import RequestRecord
    from .messages import RequestContext

SUBMISSION: Final = GoStruct(
    "dto.MidjourneyRequest",
    {
        **dict.fromkeys(("prompt", "customId", "botType", "notifyHook", "action", "state"), str),
        **dict.fromkeys(("taskId", "content", "maskBase64"), str),
        "index": int,
        "base64Array": list,
    },
)
FACE_SWAP: Final = GoStruct(
    "dto.SwapFaceRequest", dict.fromkeys(("sourceBase64", "targetBase64"), str)
)
NOTIFICATION: Final = GoStruct(
    "dto.MidjourneyDto",
    {
        **dict.fromkeys(("id", "promptEn", "state", "imageUrl", "status", "progress"), str),
        "failReason": str,
        **dict.fromkeys(("submitTime", "startTime", "finishTime"), int),
    },
)
"""An inbound webhook (PROTOCOL §1.18)."""
_JSON_TYPE: Final = "application/json"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MULTIPART_TYPE: Final = "multipart/form-data"


@attrs.frozen(kw_only=True)
class GatewayRequest:
    """An authenticated request."""

    user: str
    route: MatchedRoute
    record: RequestRecord
    raw_body: bytes
    content_type: str
    """The header, with its parameters."""
    is_strict: bool
    """Whether nothing may follow the JSON of the body."""
    path: str
    """The path at the upstream, with the query."""
    speed: str
    """The speed of the path, as in an account filter."""
    context: RequestContext

    def parse(self, struct: GoStruct) -> dict[str, Any]:
        """Return the fields of the body, which is read as JSON only if its type is JSON.

        `new-api` accepts the fields of a form as well; `one-hub` has no names for them.

        Raises:
            GoJsonError: The body does not fit the struct.
        """
        if self.is_strict:
            if self.content_type.startswith(_JSON_TYPE):
                return struct.decode(decode(self.raw_body))
            is_form = _FORM_TYPE in self.content_type
            form = parse_qsl(self.raw_body.decode(errors="replace")) if is_form else ()
            return struct.decode(dict(form))
        media_type = self.content_type.partition(";")[0].strip()
        if media_type == _JSON_TYPE:
            return struct.decode(decode(self.raw_body, first_value_only=True))
        if media_type == _MULTIPART_TYPE:
            raise GoJsonError("no multipart boundary param in Content-Type")
        return struct.decode({})
