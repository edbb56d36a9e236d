"""One method for each kind of submission (PROTOCOL §1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Unpack

from ._concurrency import gather_or_cancel
from ._context import ClientContext
from ._media.inputs import ImageInput, as_data_url, as_tuple, input_url
from ._models import Dimensions, VideoType
from ._options import SubmitOptions, url_for_options
from ._protocol import payloads
from ._protocol.urls import ServerUrl
from ._submission_requests import NewTaskRequest, VideoSwapRequest
from ._task import Task
from ._validation import check_encodable, check_task_id


class SubmissionMethods:
    """The methods that create Tasks. All accept the keyword arguments of `SubmitOptions`."""

    _context: ClientContext

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
        draft = payloads.imagine(prompt, as_tuple(images))
        return self._create_task(draft, options, f"imagine {prompt[:40]!r}")

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
        return self._create_task(payloads.blend(as_tuple(images), dimensions), options)

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
        return self._create_task(payloads.describe(image, language), options)

    def shorten(self, prompt: str, **options: Unpack[SubmitOptions]) -> Task:
        """Shorten a prompt to its important words.

        The finished Task has the shorter prompts in `task.prompts`.

        Args:
            prompt: The prompt to shorten.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty.
        """
        return self._create_task(payloads.shorten(prompt), options, f"shorten {prompt[:40]!r}")

    def edit(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> Task:
        """Edit an image according to a prompt (PROTOCOL §1.10).

        Args:
            image: The image, as for `imagine`.
            prompt: The prompt for the edited image.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty, or the image is missing.
        """
        return self._create_task(payloads.edit(image, prompt), options)

    def retexture(self, image: ImageInput, prompt: str, **options: Unpack[SubmitOptions]) -> Task:
        """Keep the shapes of an image and redraw its surfaces (PROTOCOL §1.10).

        Args:
            image: The image, as for `imagine`.
            prompt: The prompt for the new surfaces.
            options: See `SubmitOptions`.

        Raises:
            InvalidRequest: The prompt is empty, or the image is missing.
        """
        return self._create_task(payloads.retexture(image, prompt), options)

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
        draft = payloads.video(
            prompt,
            image=image,
            end_image=end_image,
            motion=motion,
            loop=loop,
            video_type=video_type,
            batch_size=batch_size,
            extend=extend,
            index=index,
        )
        return self._create_task(draft, options)

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
        return self._create_task(payloads.swap_face(source, target), options)

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
        target_url = input_url(target)
        url = self._url(options)
        request = VideoSwapRequest(
            context=self._context,
            draft=payloads.swap_video_face(source, target_url),
            common=payloads.common_payload(options, SubmitOptions.__optional_keys__),
            url=url,
            video=None if target_url else target,
        )
        return Task(self._context, "swap video face", request, route=url)

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
        account_filter = payloads.account_filter_payload(options.get("account_filter") or {})
        options["account_filter"] = {**account_filter, "instanceId": account_id}
        return self._create_task(payloads.show(job), options)

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
        data_urls = await gather_or_cancel(
            as_data_url(image, self._context.download_input) for image in as_tuple(images)
        )
        return await self._context.uploads.links(data_urls, self._context.api.upload)

    def _create_task(
        self, draft: payloads.SubmissionDraft, options: SubmitOptions, label: str = ""
    ) -> Task:
        config = self._context.config
        speed = options.get("speed")
        flag = speed or config.speed
        if flag and config.speed_by_prompt:
            draft = draft.with_speed(flag)
        common = payloads.common_payload(options, SubmitOptions.__optional_keys__)
        url = self._url(options)
        request = NewTaskRequest.from_draft(self._context, draft, common, url)
        return Task(self._context, label or draft.endpoint, request, route=url, speed=speed)

    def _url(self, options: SubmitOptions) -> ServerUrl:
        config = self._context.config
        return url_for_options(config.url, options, by_path=config.speed_by_path)
