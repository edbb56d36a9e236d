"""The requests of new tasks, built when they are about to be sent."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from sys import intern
from typing import Any, Self

import attrs

from ._concurrency import gather_or_cancel, run_in_worker
from ._context import ClientContext
from ._http.bodies import DataUrl, encode_form
from ._http.submission import SubmitRequest, build_submit_request
from ._media.inputs import ImageInput, as_data_url, read_file_input
from ._protocol.parsing import Operation
from ._protocol.payloads import SubmissionDraft
from ._protocol.urls import ServerUrl


@attrs.frozen(kw_only=True)
class NewTaskRequest:
    """The JSON request of a new task."""

    context: ClientContext
    endpoint: str
    path: str | None
    payload: Mapping[str, Any]
    """The fields and the options, without images."""
    images: Mapping[str, Any]
    """The image inputs by field: see `SubmissionDraft`."""
    url: ServerUrl

    @classmethod
    def from_draft(
        cls,
        context: ClientContext,
        draft: SubmissionDraft,
        common: Mapping[str, Any],
        url: ServerUrl,
    ) -> Self:
        """Return the request of a draft and of the fields of the options."""
        return cls(
            context=context,
            endpoint=draft.endpoint,
            path=draft.path,
            payload=draft.payload(common, {}),
            images=draft.images,
            url=url,
        )

    async def build(self, _: float, /) -> SubmitRequest:
        """Encode the images, and return the request.

        Raises:
            InvalidRequest: An image cannot be read.
        """
        images = await encode_images(self.context, self.images) if self.images else {}
        build = partial(
            build_submit_request,
            self.endpoint,
            {**self.payload, **images},
            Operation.SUBMIT,
            expected_action=intern(self.endpoint.upper()),
            path=self.path,
            url=self.url,
        )
        return await run_in_worker(build) if images else build()


@attrs.frozen(kw_only=True)
class VideoSwapRequest:
    """The multipart request of a face swap in a video (PROTOCOL §1.13)."""

    context: ClientContext
    draft: SubmissionDraft
    common: Mapping[str, Any]
    """The fields of the options."""
    url: ServerUrl
    video: ImageInput | None
    """The video file; None if the draft has its URL."""

    async def build(self, _: float, /) -> SubmitRequest:
        """Encode the image, open the video, and return the request.

        Raises:
            InvalidRequest: A file cannot be read.
        """
        images = await encode_images(self.context, self.draft.images)
        payload = {**self.common, **self.draft.fields, **images}  # the arguments win over `extra`
        video = None if self.video is None else await read_file_input(self.video)
        boundary = secrets.token_hex(16)
        return SubmitRequest(
            endpoint=self.draft.endpoint,
            path=self.draft.path,
            payload=payload,
            body=encode_form(boundary, payload, video),
            content_type=f"multipart/form-data; boundary={boundary}",
            operation=Operation.SUBMIT,
            expected_action="SWAP_VIDEO_FACE",
            url=self.url,
        )


async def encode_images(
    context: ClientContext, images: Mapping[str, Any]
) -> dict[str, DataUrl | str | list[DataUrl | str]]:
    """Return the image inputs of a draft as data URLs, by field."""
    encoded: dict[str, DataUrl | str | list[DataUrl | str]] = {}
    for field, image in images.items():
        if isinstance(image, tuple):
            urls = (as_data_url(each, context.download_input) for each in image)
            encoded[field] = await gather_or_cancel(urls)
        else:
            encoded[field] = await as_data_url(image, context.download_input)
    return encoded
