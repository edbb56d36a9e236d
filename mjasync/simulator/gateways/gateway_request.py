"""A request of somebody who was let in, and what can be read out of its body (PROTOCOL §7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs

from .custom_ids import FACE_SWAP_FIELDS, NOTIFY_FIELDS, SUBMIT_FIELDS
from .go_json import GoJsonError, StructFields, decode, decode_first, decode_struct

if TYPE_CHECKING:
    from ..routes import MatchedRoute
    from ..sim_task import RequestRecord
    from .messages import RequestContext

__all__ = ["GatewayRequest"]

_JSON_TYPE: Final = "application/json"
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MULTIPART_TYPE: Final = "multipart/form-data"


@attrs.frozen(kw_only=True)
class GatewayRequest:
    """A request of somebody who was let in."""

    user: str
    route: MatchedRoute
    record: RequestRecord
    raw_body: bytes
    content_type: str
    """The header, with its parameters."""
    path: str
    """Where it would go at the upstream, query included."""
    mode: str
    context: RequestContext

    def parse_submission(self, *, strict: bool) -> dict[str, Any]:
        """The fields of a submission.

        Args:
            strict: Whether nothing may follow the JSON.

        Raises:
            Unreadable: The body does not fit.
        """
        return self._parse_fields(SUBMIT_FIELDS, "dto.MidjourneyRequest", strict=strict)

    def face_swap(self, *, strict: bool) -> dict[str, Any]:
        """The fields of a face swap; raises as `submission` does."""
        return self._parse_fields(FACE_SWAP_FIELDS, "dto.SwapFaceRequest", strict=strict)

    def notification(self, *, strict: bool) -> dict[str, Any]:
        """The fields of an inbound webhook; raises as `submission` does."""
        return self._parse_fields(NOTIFY_FIELDS, "dto.MidjourneyDto", strict=strict)

    def _parse_fields(
        self, fields: StructFields, struct_name: str, *, strict: bool
    ) -> dict[str, Any]:
        """Only what calls itself JSON is read as JSON.

        `new-api` takes a form's fields as they are; `one-hub` knows none of their names.
        """
        media_type = self.content_type if strict else self.content_type.partition(";")[0].strip()
        if media_type.startswith(_JSON_TYPE) if strict else media_type == _JSON_TYPE:
            return decode_struct(
                (decode if strict else decode_first)(self.raw_body), fields, struct_name
            )
        if not strict and media_type == _MULTIPART_TYPE:
            raise GoJsonError("no multipart boundary param in Content-Type")
        form = (
            dict(parse_qsl(self.raw_body.decode(errors="replace")))
            if strict and _FORM_TYPE in media_type
            else {}
        )
        return decode_struct(form, fields, struct_name)
