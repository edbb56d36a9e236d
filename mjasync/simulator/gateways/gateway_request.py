"""A request of somebody who was let in, and what can be read out of its body (PROTOCOL §7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs

from .custom_ids import FACE_SWAP_FIELDS, NOTIFY_FIELDS, SUBMIT_FIELDS
from .go_json import Fields, GoJsonError, decode, decode_first, decode_struct

if TYPE_CHECKING:
    from ..routes import MatchedRoute
    from ..sim_task import RequestRecord
    from .messages import RequestContext

__all__ = ["GatewayRequest"]

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"


@attrs.frozen(kw_only=True)
class GatewayRequest:
    """A request of somebody who was let in."""

    user: str
    route: MatchedRoute
    record: RequestRecord
    raw: bytes
    content_type: str
    """The header, with its parameters."""
    path: str
    """Where it would go at the upstream, query included."""
    mode: str
    context: RequestContext

    def submission(self, *, strict: bool) -> dict[str, Any]:
        """The fields of a submission.

        Args:
            strict: Whether nothing may follow the JSON.

        Raises:
            Unreadable: The body does not fit.
        """
        return self._fields(SUBMIT_FIELDS, "dto.MidjourneyRequest", strict=strict)

    def face_swap(self, *, strict: bool) -> dict[str, Any]:
        """The fields of a face swap; raises as `submission` does."""
        return self._fields(FACE_SWAP_FIELDS, "dto.SwapFaceRequest", strict=strict)

    def notification(self, *, strict: bool) -> dict[str, Any]:
        """The fields of an inbound webhook; raises as `submission` does."""
        return self._fields(NOTIFY_FIELDS, "dto.MidjourneyDto", strict=strict)

    def _fields(self, fields: Fields, struct: str, *, strict: bool) -> dict[str, Any]:
        """Only what calls itself JSON is read as JSON.

        `new-api` takes a form's fields as they are; `one-hub` knows none of their names.
        """
        kind = self.content_type if strict else self.content_type.partition(";")[0].strip()
        if kind.startswith(_JSON) if strict else kind == _JSON:
            return decode_struct((decode if strict else decode_first)(self.raw), fields, struct)
        if not strict and kind == _MULTIPART:
            raise GoJsonError("no multipart boundary param in Content-Type")
        form = (
            dict(parse_qsl(self.raw.decode(errors="replace"))) if strict and _FORM in kind else {}
        )
        return decode_struct(form, fields, struct)
