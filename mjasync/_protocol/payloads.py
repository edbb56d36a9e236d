"""The payload of each submission, built from typed arguments (PROTOCOL §1)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, get_args

import attrs

from .._json import dump_json
from .._models import NOTHING, AccountFilter, Button, Dimensions, Speed, VideoType
from .._validation import check_encodable, check_task_id
from ..errors import InvalidRequest
from ..prompt import with_speed
from .buttons import change_payload

GENERATED_STATE_PREFIX: Final = "mjasync-"
"""The start of a state that the client generated."""
_BOT_TYPES: Final[Mapping[str, str]] = {"midjourney": "MID_JOURNEY", "niji": "NIJI_JOURNEY"}
_MAX_STATE_LENGTH: Final = 255
_BLEND_IMAGE_COUNTS: Final = range(2, 6)
_VIDEO_BATCH_SIZES: Final = (1, 2, 4)
_MOTIONS: Final = ("low", "high")


@attrs.frozen(kw_only=True)
class SubmissionDraft:
    """The payload of a submission whose images are not encoded yet."""

    endpoint: str
    """The path after `/submit/`, which is also the name of the submission."""
    fields: Mapping[str, Any]
    images: Mapping[str, Any] = NOTHING
    """The image inputs, one or a tuple, by the field that carries them."""
    path: str | None = None
    """The path after `/mj/`, if that is not `submit/<endpoint>`."""
    prompt_has_flags: bool = False
    """Whether the prompt may contain Midjourney's flags."""

    def with_speed(self, speed: Speed) -> SubmissionDraft:
        """Return a draft whose prompt asks for a speed, if it may contain flags."""
        if not self.prompt_has_flags:
            return self
        fields = {**self.fields, "prompt": with_speed(self.fields["prompt"], speed)}
        return attrs.evolve(self, fields=fields)

    def payload(self, common: Mapping[str, Any], images: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole payload.

        Args:
            common: The fields of the options: see `common_payload`.
            images: The encoded images.
        """
        return {**self.fields, **common, **images}


def imagine(prompt: object, images: Sequence[object] = ()) -> SubmissionDraft:
    """Return the draft of an imagine (§1.2).

    Raises:
        InvalidRequest: The prompt is empty or cannot be sent.
    """
    return _draft(
        "imagine", {"prompt": _prompt(prompt)}, {"base64Array": images}, prompt_has_flags=True
    )


def blend(images: Sequence[object], dimensions: Dimensions = "SQUARE") -> SubmissionDraft:
    """Return the draft of a blend (§1.3).

    Raises:
        InvalidRequest: There are too few or too many images, or the dimensions are unknown.
    """
    if len(images) not in _BLEND_IMAGE_COUNTS:
        message = f"A blend takes 2 to 5 images, not {len(images)}."
        raise InvalidRequest(message)
    check_choice("dimensions", dimensions, get_args(Dimensions))
    return _draft("blend", {"dimensions": dimensions}, {"base64Array": images})


def describe(image: object, language: str | None = None) -> SubmissionDraft:
    """Return the draft of a describe (§1.4).

    Raises:
        InvalidRequest: The image is missing.
    """
    return _draft("describe", {"language": language}, {"base64": _image(image)})


def shorten(prompt: object) -> SubmissionDraft:
    """Return the draft of a shorten (§1.5).

    Raises:
        InvalidRequest: The prompt is empty or cannot be sent.
    """
    return _draft("shorten", {"prompt": _prompt(prompt)})


def edit(image: object, prompt: object) -> SubmissionDraft:
    """Return the draft of an edit (§1.10).

    Raises:
        InvalidRequest: The prompt is empty, or the image is missing.
    """
    fields, images = {"prompt": _prompt(prompt)}, {"image": _image(image)}
    return _draft("edits", fields, images, prompt_has_flags=True)


def retexture(image: object, prompt: object) -> SubmissionDraft:
    """Return the draft of a retexture (§1.10).

    Raises:
        InvalidRequest: The prompt is empty, or the image is missing.
    """
    fields, images = {"prompt": _prompt(prompt)}, {"image": _image(image)}
    return _draft("retexture", fields, images, prompt_has_flags=True)


def video(
    prompt: object,
    *,
    image: object = None,
    end_image: object = None,
    motion: str = "low",
    loop: bool = False,
    video_type: VideoType | None = None,
    batch_size: int | None = None,
    extend: str | None = None,
    index: int = 1,
) -> SubmissionDraft:
    """Return the draft of a video (§1.11), or of the extension of video `index` of a task.

    Raises:
        InvalidRequest: The prompt is empty, or an argument is not one of its choices.
    """
    check_choice("motion", motion, _MOTIONS)
    check_choice("video_type", video_type, get_args(VideoType))
    if not isinstance(loop, bool):
        raise InvalidRequest(f"loop must be True or False, not {loop!r}.")
    if batch_size is not None and (batch_size is True or batch_size not in _VIDEO_BATCH_SIZES):
        message = f"batch_size must be 1, 2 or 4, not {batch_size}."
        raise InvalidRequest(message)
    if index is True or index not in range(1, 5):
        message = f"A task has videos 1 to 4, not {index}."
        raise InvalidRequest(message)
    fields = {
        "prompt": _prompt(prompt),
        "motion": motion,
        "loop": loop or None,
        "videoType": video_type,
        "batchSize": batch_size,
    }
    if extend is not None:
        fields |= {
            "action": "extend",
            "taskId": check_task_id(extend),
            "index": index - 1,  # 0-based here, unlike in custom ids
        }
    images = {"image": image, "endImage": end_image}
    return _draft("video", fields, images, prompt_has_flags=True)


def swap_face(source: object, target: object) -> SubmissionDraft:
    """Return the draft of a face swap (§1.13).

    Raises:
        InvalidRequest: An image is missing.
    """
    images = {"sourceBase64": _image(source), "targetBase64": _image(target)}
    return _draft("swap", {}, images, path="insight-face/swap")


def swap_video_face(source: object, target_url: str | None) -> SubmissionDraft:
    """Return the draft of a face swap in a video (§1.13), which is sent as a form.

    Args:
        source: The image with the face.
        target_url: The URL of the video; None if the form carries the video itself.

    Raises:
        InvalidRequest: The image is missing.
    """
    fields, images = {"TargetUrl": target_url}, {"SourceBase64": _image(source)}
    return _draft("video-swap", fields, images, path="insight-face/video-swap")


def show(job: object) -> SubmissionDraft:
    """Return the draft of a show (§1.14).

    Raises:
        InvalidRequest: The job is empty.
    """
    return _draft("show", {"jobId": _prompt(job)})


def upload(images: Sequence[object]) -> dict[str, Any]:
    """Return the payload of an upload of encoded images (§1.12)."""
    return {"base64Array": images}


def action(task_id: str, button: Button) -> SubmissionDraft:
    """Return the draft of a pressed button: an action, or a change if it has no id (§1.6, §1.8).

    Args:
        task_id: The id of the task that has the button.
        button: The button.
    """
    if button.custom_id:
        return _draft("action", {"taskId": task_id, "customId": button.custom_id})
    return _draft("change", {"taskId": task_id, **change_payload(button)})


def modal(task_id: str, prompt: str, mask: object = None) -> SubmissionDraft:
    """Return the draft of the answer to a modal (§1.9).

    Args:
        task_id: The id of the task whose modal is open.
        prompt: The text; "" for the text that the server proposed.
        mask: The encoded mask; None for no mask.
    """
    return _draft("modal", {"taskId": task_id, "prompt": prompt or None}, {"maskBase64": mask})


def _draft(
    endpoint: str,
    fields: Mapping[str, Any],
    images: Mapping[str, Any] = NOTHING,
    *,
    path: str | None = None,
    prompt_has_flags: bool = False,
) -> SubmissionDraft:
    """Return a draft without the fields and images that are missing."""
    present_fields = {name: value for name, value in fields.items() if value is not None}
    check_sendable(present_fields)
    present_images = {
        name: image for name, image in images.items() if image is not None and image != ()
    }
    return SubmissionDraft(
        endpoint=endpoint,
        fields=present_fields,
        images=present_images or NOTHING,
        path=path,
        prompt_has_flags=prompt_has_flags,
    )


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that a value is one of several, or None.

    Raises:
        InvalidRequest: It is not.
    """
    if value is not None and value not in choices:
        message = f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}."
        raise InvalidRequest(message)


def _prompt(prompt: object) -> str:
    if not isinstance(prompt, str) or not prompt.strip():
        message = f"The prompt must be text that is not blank, not {prompt!r}."
        raise InvalidRequest(message)
    return prompt


def _image(image: object) -> object:
    if image is None:
        message = "An image is required here, not None."
        raise InvalidRequest(message)
    return image


def _check_state(value: object) -> str:
    if not isinstance(value, str):
        message = f"state must be text, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    if len(value) > _MAX_STATE_LENGTH:
        message = f"state has {len(value)} characters; servers take {_MAX_STATE_LENGTH} at most."
        raise InvalidRequest(message)
    return value


def _bot_type(value: object) -> str:
    if not isinstance(value, str) or value not in _BOT_TYPES:
        message = f"bot must be one of {', '.join(_BOT_TYPES)}, not {value!r}."
        raise InvalidRequest(message)
    return _BOT_TYPES[value]


def _check_webhook_url(value: object) -> str:
    if not isinstance(value, str) and not hasattr(value, "host"):  # URL objects count, too
        message = f"notify_hook must be an address as text, not {type(value).__name__} ({value!r})."
        raise InvalidRequest(message)
    return str(value)


def _check_bool(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"enable_remix and strong must be True, False or None, not {value!r}."
        raise InvalidRequest(message)
    return value


def account_filter_payload(value: AccountFilter | Mapping[str, Any]) -> dict[str, Any]:
    """Return the `accountFilter` of a request.

    Raises:
        InvalidRequest: The value is neither an `AccountFilter` nor a mapping.
    """
    if isinstance(value, AccountFilter):
        return value.to_payload()
    try:
        return dict(value)
    except (TypeError, ValueError):
        message = f"account_filter must be an AccountFilter or a mapping, not {value!r}."
        raise InvalidRequest(message) from None


_OPTION_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "state": ("state", _check_state),
    "notify_hook": ("notifyHook", _check_webhook_url),
    "account_filter": ("accountFilter", account_filter_payload),
    "bot": ("botType", _bot_type),
    "enable_remix": ("enableRemix", _check_bool),
    "strong": ("strong", _check_bool),
}


def common_payload(options: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
    """Return the fields of the options (§1.1); a missing `state` is generated.

    Args:
        options: The keyword arguments of the caller.
        allowed: The names of the arguments that exist.

    Raises:
        InvalidRequest: A value cannot be sent.
        TypeError: There is no such option.
    """
    unknown = options.keys() - allowed
    if unknown:
        message = (
            f"There is no option {', '.join(sorted(unknown))}; there are "
            f"{', '.join(sorted(allowed))}."
        )
        raise TypeError(message)
    fields: dict[str, Any] = {"state": f"{GENERATED_STATE_PREFIX}{uuid.uuid4().hex}"}
    for name, (field, convert) in _OPTION_FIELDS.items():
        value = options.get(name)
        if value is not None and value != "":
            fields[field] = convert(value)
    extra: object = options.get("extra")
    if extra is not None and not isinstance(extra, Mapping):
        message = f"extra must be a mapping of further fields, not {extra!r}."
        raise InvalidRequest(message)
    fields.update(extra or {})
    check_sendable(fields)
    return fields


def check_sendable(fields: Mapping[str, Any]) -> None:
    """Check that every field can be sent as JSON.

    Raises:
        InvalidRequest: A text contains half of a surrogate pair, or JSON has no form for a value.
    """
    for name, value in fields.items():
        if isinstance(value, str):
            check_encodable(value, f"The {name}")
            continue
        try:
            dump_json(value)
        except TypeError as error:
            message = f"{name} cannot be sent as JSON: {error}."
            raise InvalidRequest(message) from None
