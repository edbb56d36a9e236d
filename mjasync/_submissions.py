"""One method for each kind of submission (PROTOCOL §1)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from sys import intern
from typing import Any, Final, Literal, Unpack

from ._concurrency import gather_or_cancel, run_in_worker
from ._http.bodies import DataUrl, content_key, encode_form
from ._http.submission import SubmitRequest, build_submit_request
from ._media.files import read_all
from ._media.inputs import ImageInput, as_data_url, as_tuple, input_url, read_file_input
from ._models import Dimensions, VideoType
from ._options import SubmitOptions, check_choice, url_for_options
from ._pending_submission import ClientContext
from ._protocol.parsing import Operation
from ._protocol.payloads import account_filter_payload, check_sendable, common_payload
from ._protocol.urls import ServerUrl
from ._task import Task
from ._validation import check_encodable, check_task_id
from .errors import InvalidRequest
from .prompt import with_speed

__all__ = ["SubmissionMethods"]

ImageInputs = ImageInput | tuple[ImageInput, ...] | None
_BLEND_IMAGE_COUNTS: Final = range(2, 6)
_ENDPOINTS_WITH_FLAGS: Final = frozenset({"imagine", "edits", "retexture", "video"})
"""Endpoints whose prompt may contain Midjourney's flags."""
_VIDEO_BATCH_SIZES: Final = (1, 2, 4)
_UPLOAD_LINK_LIFETIME: Final = 3600.0
"""Seconds for which the link of an uploaded image is reused (PROTOCOL §7.3)."""


class SubmissionMethods:
    """The methods that create Tasks. All accept the keyword arguments of `SubmitOptions`."""

    _context: ClientContext
    _uploaded_links: dict[str, tuple[str, float]]
    _upload_lock: asyncio.Lock

    def imagine(
        self,
        prompt: str,
        *,
        images: ImageInput | Iterable[ImageInput] | None = (),
        **options: Unpack[SubmitOptions],
    ) -> Task:
        """Generate a grid of four images from a prompt (PROTOCOL §1.2).

        Args:
            prompt: The prompt, with flags.
            images: One or more reference images: paths, bytes, binary files, URLs or Pillow
                images. None means no images.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty.
        """
        text = _check_prompt(prompt)
        pictures = {"base64Array": as_tuple(images)}
        return self._create_task("imagine", {"prompt": text}, pictures, options, repr(text[:40]))

    def blend(
        self,
        images: Iterable[ImageInput],
        *,
        dimensions: Dimensions = "SQUARE",
        **options: Unpack[SubmitOptions],
    ) -> Task:
        """Blend two to five images into a grid of four.

        Args:
            images: The images, as for `imagine`.
            dimensions: "PORTRAIT" (2:3), "SQUARE" or "LANDSCAPE" (3:2).
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: There are too few or too many images, or the dimensions are unknown.
        """
        pictures = as_tuple(images)
        if len(pictures) not in _BLEND_IMAGE_COUNTS:
            message = f"A blend takes 2 to 5 pictures, not {len(pictures)}."
            raise InvalidRequest(message)
        check_choice("dimensions", dimensions, Dimensions)
        return self._create_task(
            "blend", {"dimensions": dimensions}, {"base64Array": pictures}, options
        )

    def describe(
        self,
        image: ImageInput,
        *,
        language: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Task:
        """Describe an image with four prompts.

        The finished Task has the prompts in `task.prompts`, and the whole text in `task.text`.

        Args:
            image: The image, as for `imagine`.
            language: "zh" for prompts in Chinese, on servers that translate.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The image is missing.
        """
        return self._create_task(
            "describe", {"language": language}, {"base64": _check_image(image)}, options
        )

    def shorten(self, prompt: str, **options: Unpack[SubmitOptions]) -> Task:
        """Shorten a prompt to its important words.

        The finished Task has the shorter prompts in `task.prompts`.

        Args:
            prompt: The prompt to shorten.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty.
        """
        text = _check_prompt(prompt)
        return self._create_task("shorten", {"prompt": text}, {}, options, repr(text[:40]))

    def edit(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> Task:
        """Edit an image according to a prompt (PROTOCOL §1.10).

        Args:
            image: The image, as for `imagine`.
            prompt: The prompt for the edited image.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty, or the image is missing.
        """
        return self._create_task(
            "edits", {"prompt": _check_prompt(prompt)}, {"image": _check_image(image)}, options
        )

    def retexture(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> Task:
        """Keep the shapes of an image and redraw its surfaces (PROTOCOL §1.10).

        Args:
            image: The image, as for `imagine`.
            prompt: The prompt for the new surfaces.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty, or the image is missing.
        """
        return self._create_task(
            "retexture", {"prompt": _check_prompt(prompt)}, {"image": _check_image(image)}, options
        )

    def video(
        self,
        prompt: str,
        *,
        image: ImageInput | None = None,
        end_image: ImageInput | None = None,
        motion: Literal["low", "high"] = "low",
        loop: bool = False,
        video_type: VideoType | None = None,
        batch_size: Literal[1, 2, 4] | None = None,
        extend: str | None = None,
        index: Literal[1, 2, 3, 4] = 1,
        **options: Unpack[SubmitOptions],
    ) -> Task:
        """Generate videos (PROTOCOL §1.11).

        Args:
            prompt: The prompt.
            image: The first frame, as for `imagine`.
            end_image: The last frame.
            motion: The amount of motion.
            loop: Whether the video ends where it begins.
            video_type: The resolution. Defaults to the server's, `vid_1.1_i2v_480`.
            batch_size: The number of videos. Defaults to the server's, 4.
            extend: The id of a video task to extend.
            index: The video of that task, 1 to 4.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty, or an argument is not one of its choices.
        """
        check_choice("motion", motion, Literal["low", "high"])
        check_choice("video_type", video_type, VideoType)
        if not isinstance(loop, bool):
            raise InvalidRequest(f"loop must be True or False, not {loop!r}.")
        if batch_size is not None and (batch_size is True or batch_size not in _VIDEO_BATCH_SIZES):
            message = f"batch_size must be 1, 2 or 4, not {batch_size}."
            raise InvalidRequest(message)
        if index is True or index not in range(1, 5):
            message = f"A task has videos 1 to 4, not {index}."
            raise InvalidRequest(message)
        fields = {
            "prompt": _check_prompt(prompt),
            "motion": motion,
            "loop": loop or None,
            "videoType": video_type,
            "batchSize": batch_size,
            "action": None if extend is None else "extend",
            "taskId": None if extend is None else check_task_id(extend),
            "index": None if extend is None else index - 1,  # 0-based here, unlike in custom ids
        }
        return self._create_task("video", fields, {"image": image, "endImage": end_image}, options)

    def swap_face(
        self,
        source: ImageInput,
        target: ImageInput,
        **options: Unpack[SubmitOptions],
    ) -> Task:
        """Swap the face of one image into another (PROTOCOL §1.13).

        Args:
            source: The image with the face.
            target: The image to change.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: An image is missing.
        """
        pictures: Mapping[str, ImageInputs] = {
            "sourceBase64": _check_image(source),
            "targetBase64": _check_image(target),
        }
        return self._create_task("swap", {}, pictures, options, path="insight-face/swap")

    def swap_video_face(
        self,
        source: ImageInput,
        target: ImageInput,
        **options: Unpack[SubmitOptions],
    ) -> Task:
        """Swap a face into a video (PROTOCOL §1.13).

        Args:
            source: The image with the face.
            target: The video: a path, bytes, a binary file, or a URL.
            options: See `SubmitOptions`.
        """
        if isinstance(target, str):
            check_encodable(target, "The target")
        link = input_url(target)
        common = common_payload(options, SubmitOptions.__optional_keys__)
        route = self._url(options)

        async def prepare(_: float) -> SubmitRequest:
            fields = {**common, "SourceBase64": await self._encode(source)}
            file = None
            if link:
                fields["TargetUrl"] = link
            else:
                file = await read_file_input(target)
            boundary = secrets.token_hex(16)
            return SubmitRequest(
                endpoint="video-swap",
                path="insight-face/video-swap",
                payload=fields,
                body=encode_form(boundary, fields, file),
                content_type=f"multipart/form-data; boundary={boundary}",
                operation=Operation.SUBMIT,
                expected_action="SWAP_VIDEO_FACE",
                url=route,
            )

        return Task(self._context, "swap video face", prepare, route=route)

    def show(self, job: str, *, instance_id: str, **options: Unpack[SubmitOptions]) -> Task:
        """Create a task for an existing Midjourney job (PROTOCOL §1.14).

        Args:
            job: The id of a Midjourney job, or the link of its image.
            instance_id: The account of the server that ran the job.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The job is empty.
        """
        account_id = check_task_id(instance_id, "instance_id")
        also = account_filter_payload(options.get("account_filter") or {})
        wanted: SubmitOptions = {**options, "account_filter": {**also, "instanceId": account_id}}
        return self._create_task("show", {"jobId": _check_prompt(job)}, {}, wanted)

    async def upload(self, images: ImageInput | Iterable[ImageInput] | None) -> list[str]:
        """Upload images to the server and return their links, for use in prompts.

        Since links expire, the client uploads an image again after an hour. Within that hour, the
        same content gives the same link.

        Args:
            images: One or more images, as for `imagine`.

        Returns:
            The links, in the order of the images.

        Raises:
            UnsupportedEndpoint: The server does not accept uploads.
            MJError: The upload failed. Uploads are free, so it may be repeated.
        """
        self._context.loop.check()
        given = as_tuple(images)
        urls = await gather_or_cancel(as_data_url(image, self._download) for image in given)
        keys = await run_in_worker(lambda: [content_key(url) for url in urls])
        async with self._upload_lock:
            now = self._context.clock.now()
            fresh = {
                key: kept
                for key, kept in self._uploaded_links.items()
                if now - kept[1] < _UPLOAD_LINK_LIFETIME
            }
            missing = {key: url for key, url in zip(keys, urls, strict=True) if key not in fresh}
            if missing:
                links = await self._context.api.upload(list(missing.values()))
                fresh |= {key: (link, now) for key, link in zip(missing, links, strict=True)}
            self._uploaded_links = fresh
        return [fresh[key][0] for key in keys]

    def _create_task(
        self,
        endpoint: str,
        fields: Mapping[str, Any],
        images: Mapping[str, ImageInputs],
        options: SubmitOptions,
        detail: str = "",
        *,
        path: str | None = None,
    ) -> Task:
        given = {name: value for name, value in fields.items() if value is not None}
        asked = options.get("speed")
        speed = asked or self._context.speed
        if speed and self._context.speed_by_prompt and endpoint in _ENDPOINTS_WITH_FLAGS:
            given["prompt"] = with_speed(given["prompt"], speed)
        check_sendable(given)
        payload = {**given, **common_payload(options, SubmitOptions.__optional_keys__)}
        route = self._url(options)

        async def prepare(_: float) -> SubmitRequest:
            encoded = {
                name: await self._encode(one)
                for name, one in images.items()
                if one is not None and one != ()
            }

            def make() -> SubmitRequest:
                return build_submit_request(
                    endpoint,
                    {**payload, **encoded},
                    Operation.SUBMIT,
                    expected_action=intern(endpoint.upper()),
                    path=path,
                    url=route,
                )

            return await run_in_worker(make) if encoded else make()

        what = f"{endpoint} {detail}".strip()
        return Task(self._context, what, prepare, route=route, speed=asked)

    def _url(self, options: SubmitOptions) -> ServerUrl:
        calls, by_path = self._context.api, self._context.speed_by_path
        return url_for_options(calls.url, options, by_path=by_path)

    async def _encode(
        self, images: ImageInput | tuple[ImageInput, ...]
    ) -> DataUrl | str | list[DataUrl | str]:
        if isinstance(images, tuple):
            return await gather_or_cancel(as_data_url(image, self._download) for image in images)
        return await as_data_url(images, self._download)

    async def _download(self, url: str) -> bytes:
        return await self._context.api.download(url, read_all, is_input=True)


def _check_image(image: ImageInput | None) -> ImageInput:
    if image is not None:
        return image
    message = "This needs a picture, not None."
    raise InvalidRequest(message)


def _check_prompt(prompt: object) -> str:
    if isinstance(prompt, str) and prompt.strip():
        return prompt
    message = f"The prompt must be text that is not blank, not {prompt!r}."
    raise InvalidRequest(message)
