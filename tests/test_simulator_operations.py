"""The simulator's operations beyond imagine: edits, videos, faces, jobs, accounts, filters."""

from __future__ import annotations

import io
from typing import Any

import aiohttp
import pytest
from PIL import Image

from mjasync.simulator import Simulator
from mjasync.simulator.request_bodies import read_body
from support.internals import set_time_scale
from support.pictures import PIXEL, data_url, encode
from support.raw_http import FROZEN, Answer, Raw, named, simulated

SWAP_FILM = "/mj/insight-face/video-swap"


def red_square() -> bytes:
    """A picture that differs from every rendered one, darker on its right."""
    square = Image.new("RGB", (32, 32), (255, 0, 0))
    square.paste((160, 0, 0), (20, 0, 32, 32))
    return encode(square)


async def seen(raw: Raw, url: str) -> Image.Image:
    """Fetch the picture of a link."""
    return Image.open(io.BytesIO((await raw.get(url)).body))


def redness(image: Image.Image) -> float:
    """Return how red the middle of a picture is, from -255 to 255."""
    small = image.convert("RGB").resize((8, 8))
    pixels = [small.getpixel((x, y)) for x in range(2, 6) for y in range(2, 6)]
    return sum(p[0] - (p[1] + p[2]) / 2 for p in pixels) / len(pixels)  # type: ignore[index,operator]


# --- edits and retextures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path,endpoint,action",
    [
        ("edits", "edits", "EDIT"),
        ("edit", "edits", "EDIT"),
        ("retexture", "retexture", "RETEXTURE"),
    ],
)
@pytest.mark.parametrize("image", [data_url(), data_url().partition(",")[2], "https://a.b/c.png"])
async def test_a_picture_that_is_sent_is_worked_on(
    path: str, endpoint: str, action: str, image: str
) -> None:
    """PROTOCOL §1.10: a URL, a data URL or bare base64; the result is a grid with its buttons."""
    async with simulated() as (sim, raw):
        task = await raw.done(await raw.submit(path, prompt="make it red", image=image))
        assert (task["action"], task["status"], task["prompt"]) == (
            action,
            "SUCCESS",
            "make it red",
        )
        assert "U4" in named(task)
        assert sim.submissions[0].endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["edits", "retexture"])
@pytest.mark.parametrize("body", [{}, {"prompt": "x"}, {"image": data_url()}])
async def test_an_edit_needs_both_words_and_a_picture(endpoint: str, body: dict[str, Any]) -> None:
    """PROTOCOL §1.10: code 4 image或prompt不能为空."""
    async with simulated() as (sim, raw):
        answer = await raw.submit(endpoint, **body)
        assert (answer.code, answer.json["description"]) == (4, "image或prompt不能为空")
        assert (await raw.submit(endpoint, prompt="naked", image=data_url())).code == 24
        assert sim.submissions == []


@pytest.mark.parametrize("how", ["bytes", "upload"])
async def test_an_edit_shows_the_picture_that_was_sent(how: str) -> None:
    """The bytes, or what an earlier upload's link leads to."""
    async with simulated(draw=True, picture_size=64) as (_, raw):
        image = data_url(red_square())
        if how == "upload":
            image = (await raw.submit("upload-discord-images", base64Array=[image])).result[0]
        task = await raw.done(await raw.submit("edits", prompt="a fox", image=image))
        single = await raw.pressed(task, "U1")
        assert redness(await seen(raw, single["imageUrl"])) > 60


async def test_an_edit_of_our_own_picture_keeps_its_shape() -> None:
    """A link to a result is that result, a link to a quadrant that quadrant."""
    async with simulated(draw=True, picture_size=64, image_urls=True) as (_, raw):
        grid = await raw.grid("a fox --ar 2:1")
        for link in (grid["imageUrl"], grid["imageUrls"][2]["url"]):
            task = await raw.done(await raw.submit("edits", prompt="a hat", image=link))
            assert (task["imageWidth"], task["imageHeight"]) == (64, 32)
            assert (await seen(raw, task["imageUrl"])).size == (64, 32)


async def test_an_invalid_image_is_still_edited() -> None:
    """Bytes that cannot be decoded are replaced by a rendered picture."""
    async with simulated(draw=True, picture_size=32) as (_, raw):
        task = await raw.done(await raw.submit("edits", prompt="x", image="bm90IGEgcGljdHVyZQ=="))
        assert (await seen(raw, task["imageUrl"])).size == (32, 32)


# --- videos --------------------------------------------------------------------------------------


async def test_a_video_has_the_defaults_of_the_protocol() -> None:
    """PROTOCOL §1.11: low motion, four videos, 480 lines; no first frame is needed."""
    async with simulated() as (sim, raw):
        task = await raw.done(await raw.submit("video", prompt="a fox runs"))
        assert (task["action"], [*named(task)]) == ("VIDEO", ["U1", "U2", "U3", "U4"])
        assert task["properties"]["finalPrompt"] == "a fox runs --motion low --video --v 7"
        assert len(task["videoUrls"]) == 4
        assert task["videoUrl"] == task["videoUrls"][0]["url"]
        simulated_task = sim.tasks[task["id"]]
        assert (simulated_task.batch_size, simulated_task.video_type) == (4, "vid_1.1_i2v_480")
        assert simulated_task.first_frame_link is None


async def test_a_video_takes_all_its_fields() -> None:
    """First and last frame, motion, loop, type and batch size; a number may be a string."""
    async with simulated() as (sim, raw):
        answer = await raw.submit(
            "video",
            prompt="a fox",
            image=data_url(),
            endImage="https://a.b/last.png",
            motion="high",
            loop=True,
            videoType="vid_1.1_i2v_720",
            batchSize="2",
        )
        task = await raw.done(answer)
        assert [*named(task)] == ["U1", "U2"]
        assert len(task["videoUrls"]) == 2
        assert "--motion high --loop --video" in task["properties"]["finalPrompt"]
        made = sim.tasks[task["id"]]
        assert (made.video_type, made.image_sizes) == ("vid_1.1_i2v_720", (len(PIXEL), 0))
        assert made.first_frame_link
        assert made.first_frame_link.startswith(sim.url)


@pytest.mark.parametrize(
    "body,description",
    [
        ({"prompt": " "}, "prompt不能为空"),
        ({"motion": "wild"}, "motion参数错误"),
        ({"videoType": "vhs"}, "videoType参数错误"),
        ({"batchSize": 3}, "batchSize参数错误"),
        ({"taskId": "1"}, "任务类型错误"),
        ({"taskId": "1", "action": "EXTEND"}, "任务类型错误"),
        ({"action": "extend"}, "参数错误"),
        ({"action": "extend", "taskId": "1", "index": 4}, "参数错误"),
        ({"action": "extend", "taskId": "1", "index": -1}, "参数错误"),
    ],
)
async def test_a_wrong_video_is_code_4(body: dict[str, Any], description: str) -> None:
    """Invalid values are refused without a submission (PROTOCOL §1.11)."""
    async with simulated() as (sim, raw):
        answer = await raw.submit("video", **{"prompt": "x", **body})
        assert (answer.status, answer.code) == (200, 4)
        assert answer.json["description"] == description
        assert sim.submissions == []


@pytest.mark.parametrize("body", [{"loop": "yes"}, {"batchSize": [4]}, {"motion": 1}])
async def test_a_video_of_wrong_types_does_not_bind(body: dict[str, Any]) -> None:
    """PROTOCOL §7.1-C."""
    async with simulated() as (_, raw):
        answer = await raw.submit("video", **{"prompt": "x", **body})
        assert (answer.status, answer.json["success"]) == (200, False)


async def test_a_video_is_extended_by_an_index_from_0() -> None:
    """Only a finished video can be extended, a batch or a single one (PROTOCOL §1.11)."""
    async with simulated() as (sim, raw):
        video = await raw.done(await raw.submit("video", prompt="a fox"))
        clip = await raw.pressed(video, "U3")
        grid = await raw.grid()
        unknown = await raw.submit("video", prompt="x", action="extend", taskId="1")
        assert (unknown.status, unknown.code) == (404, 3)
        for parent in (video, clip):
            answer = await raw.submit(
                "video", prompt="on it runs", action="extend", index=3, taskId=parent["id"]
            )
            longer = await raw.done(answer)
            assert (longer["action"], len(longer["videoUrls"])) == ("VIDEO", 4)
            assert sim.submissions[-1].parent_id == parent["id"]
        answer = await raw.submit("video", prompt="x", action="extend", taskId=grid["id"])
        assert (answer.code, answer.json["description"]) == (4, "任务类型错误")
        set_time_scale(sim, FROZEN)
        running = (await raw.submit("video", prompt="x")).result
        answer = await raw.submit("video", prompt="x", action="extend", taskId=running)
        assert (answer.code, answer.json["description"]) == (4, "关联任务状态错误")


async def test_a_picked_video_is_the_one_that_was_picked() -> None:
    """U3 of a video is an animation of the third, an MP4, and a button to extend it."""
    async with simulated(draw=True, picture_size=48) as (_, raw):
        image = data_url(red_square())
        video = await raw.done(await raw.submit("video", prompt="a fox", image=image))
        clip = await raw.pressed(video, "U3")
        assert clip["action"] == "UPSCALE"
        assert [*named(clip)] == ["Extend (High motion)", "Extend (Low motion)"]
        (link,) = clip["videoUrls"]
        assert link["url"] == clip["videoUrl"]
        film = await raw.get(clip["videoUrl"])
        assert (film.headers["Content-Type"], film.body[4:8]) == ("video/mp4", b"ftyp")
        films = [(await raw.get(one["url"])).body for one in video["videoUrls"]]
        assert [one == film.body for one in films] == [False, False, True, False]
        picked = await raw.get(link["thumbnail"])
        assert picked.headers["Content-Type"] == "image/webp"
        first, _, third, _ = [(await raw.get(one["thumbnail"])).body for one in video["videoUrls"]]
        assert third == picked.body
        assert first != picked.body
        moving = Image.open(io.BytesIO(picked.body))
        assert getattr(moving, "n_frames", 1) > 1
        assert redness(moving) > 100


async def test_a_video_that_is_not_done_has_no_links() -> None:
    """The keys are there, and null, as soon as the task is a video."""
    async with simulated(time_scale=FROZEN) as (_, raw):
        task = await raw.task((await raw.submit("video", prompt="x")).result)
        assert (task["videoUrl"], task["videoUrls"], task["buttons"]) == (None, None, [])


@pytest.mark.parametrize(
    "prompt,action",
    [
        ("a fox --video", "VIDEO"),
        ("--video a fox", "VIDEO"),
        ("a fox --videos", "IMAGINE"),
        ("x--video", "IMAGINE"),
    ],
)
async def test_a_flag_makes_a_video_of_an_imagine(prompt: str, action: str) -> None:
    """PROTOCOL §1.2."""
    async with simulated() as (sim, raw):
        task = await raw.done(await raw.submit("imagine", prompt=prompt, base64Array=[data_url()]))
        assert task["action"] == action
        assert (sim.tasks[task["id"]].source_image is not None) == (action == "VIDEO")
        assert (await raw.grid(prompt))["action"] == action


async def test_the_original_knows_no_videos() -> None:
    """The flag is part of the prompt there."""
    async with simulated("original") as (_, raw):
        assert (await raw.grid("a fox --video"))["action"] == "IMAGINE"


# --- jobs shown again ----------------------------------------------------------------------------


async def test_a_job_is_shown_again() -> None:
    """PROTOCOL §1.14: from a job id or a link with one in it; same picture, same buttons."""
    async with simulated(draw=True, picture_size=48) as (sim, raw):
        single = await raw.pressed(await raw.grid("a fox --seed 3"), "U2")
        where = {"instanceId": single["properties"]["discordInstanceId"]}
        for job in (single["properties"]["messageHash"], single["imageUrl"]):
            task = await raw.done(await raw.submit("show", jobId=job, accountFilter=where))
            assert (task["action"], task["prompt"]) == ("SHOW", single["prompt"])
            assert task["buttons"] == single["buttons"]
            assert (await raw.get(task["imageUrl"])).body == (
                await raw.get(single["imageUrl"])
            ).body
        assert len(sim.submissions) == 4
        assert (await raw.pressed(task, "Zoom Out 2x"))["status"] == "SUCCESS"


async def test_a_job_nobody_knows_fails() -> None:
    """The submission is accepted, and its task fails."""
    async with simulated() as (_, raw):
        where = {"instanceId": (await raw.account_ids())[0]}
        job = "00000000-0000-4000-8000-000000000000"
        task = await raw.done(await raw.submit("show", jobId=job, accountFilter=where))
        assert (task["status"], task["failReason"]) == ("FAILURE", "Job not found")


async def test_a_job_needs_its_id_and_its_account() -> None:
    """Code 4 without one of them, code 3 for an unknown account."""
    job = "00000000-0000-4000-8000-000000000000"
    async with simulated() as (_, raw):
        where = {"instanceId": (await raw.account_ids())[0]}
        for body in ({}, {"jobId": job}, {"jobId": "x", "accountFilter": where}):
            assert (await raw.submit("show", **body)).code == 4
        answer = await raw.submit("show", jobId=job, accountFilter={"instanceId": "1"})
        assert (answer.code, answer.json["description"]) == (3, "无可用的账号实例")


# --- faces ---------------------------------------------------------------------------------------


async def test_a_swap_takes_bytes_and_links_for_either_face() -> None:
    """PROTOCOL §1.13: Base64 or Url of source and target; the same picture twice is code 4."""
    path, link = "/mj/insight-face/swap", "https://a.b/c.png"
    async with simulated() as (sim, raw):
        for body in (
            {"sourceBase64": data_url(), "targetBase64": data_url(red_square())},
            {"sourceUrl": link, "targetBase64": data_url()},
            {"sourceUrl": link, "targetUrl": f"{link}?2"},
        ):
            assert (await raw.done(await raw.post(path, **body)))["action"] == "SWAP_FACE"
        assert (await raw.post(path, sourceUrl=link, targetUrl=link)).code == 4
        assert (await raw.post(path, sourceUrl="c.png", targetUrl=link)).code == 4
        assert len(sim.submissions) == 3


async def film_swap(raw: Raw, **fields: str | bytes) -> Answer:
    """A form; bytes are the content of a file."""
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, bytes):
            form.add_field(name, value, filename="film.mp4", content_type="video/mp4")
        else:
            form.add_field(name, value)
    return await raw.call("POST", SWAP_FILM, data=form)


async def test_a_face_is_swapped_into_a_video() -> None:
    """PROTOCOL §1.13: a form with a picture and a file, or links to both; keys in any case."""
    async with simulated(draw=True, picture_size=32) as (sim, raw):
        film = bytes(range(256))
        answer = await film_swap(raw, SourceBase64=data_url(), TargetFile=film, state="mine")
        task = await raw.done(answer)
        assert (task["action"], task["state"], task["buttons"]) == ("SWAP_VIDEO_FACE", "mine", [])
        assert len(task["videoUrls"]) == 1
        assert (await raw.get(task["videoUrl"])).headers["Content-Type"] == "video/mp4"
        assert sim.tasks[task["id"]].image_sizes == (len(PIXEL), len(film))
        assert sim.requests[0].body["TargetFile"] == film
        linked = await film_swap(raw, sourceUrl="https://a.b/c", targeturl="https://a.b/d")
        assert (await raw.done(linked))["status"] == "SUCCESS"
        assert [bought.endpoint for bought in sim.submissions] == ["video-swap"] * 2


async def test_a_wrong_form_is_refused() -> None:
    """Code 4 without a face or a film; JSON in place of a form is a wrong media type."""
    async with simulated() as (sim, raw):
        for fields in (
            {"SourceBase64": data_url()},
            {"TargetFile": b"film"},
            {"SourceBase64": data_url(), "TargetFile": b""},
        ):
            answer = await film_swap(raw, **fields)  # type: ignore[arg-type]
            assert (answer.status, answer.code) == (200, 4)
        answer = await film_swap(raw, SourceBase64=data_url(), TargetFile="no file")
        assert answer.json["success"] is False
        assert (await raw.post(SWAP_FILM, sourceBase64=data_url())).status == 415
        form = aiohttp.FormData({"prompt": "x"}, default_to_multipart=True)
        assert (await raw.call("POST", "/mj/submit/imagine", data=form)).status == 415
        assert sim.submissions == []


@pytest.mark.parametrize(
    "raw,content_type,body",
    [
        (b"", "application/json", None),
        (b"{", "application/json", None),
        (b"[1]", "", [1]),
        (b"garbage", "multipart/form-data; boundary=x", {}),
        (b"garbage", "multipart/form-data", {}),
        (
            b"--x\r\n".join(
                [
                    b"",
                    b'Content-Disposition: form-data; name="a"\r\n\r\n\xe4\xb8\xad\r\n',
                    b"Content-Disposition: form-data\r\n\r\nnameless\r\n",
                    b'Content-Disposition: form-data; name="f"; filename="g"\r\n\r\n\xff\r\n',
                    b"--x--",
                ]
            ),
            "Multipart/Form-Data; boundary=x",
            {"a": "中", "f": b"\xff"},
        ),
    ],
)
def test_bodies_are_json_or_forms(raw: bytes, content_type: str, body: object) -> None:
    """An invalid form has no fields."""
    assert read_body(raw, content_type) == body


# --- accounts ------------------------------------------------------------------------------------


async def test_the_original_shows_its_accounts_with_their_secrets() -> None:
    """PROTOCOL §1.16: the id is the channel's; an unknown one is 200 and empty."""
    async with simulated("original", accounts=2, concurrency=4, queue_size=7) as (sim, raw):
        listed = (await raw.get("/mj/account/list")).json
        assert [*listed[0]] == [
            *("id", "properties", "guildId", "channelId", "userToken", "userAgent", "enable"),
            *("coreSize", "queueSize", "timeoutMinutes"),
        ]
        assert len({account["id"] for account in listed}) == 2
        assert {account["id"] for account in listed} == {a["channelId"] for a in listed}
        assert (listed[0]["coreSize"], listed[0]["queueSize"]) == (4, 7)
        assert all("sim-user-token" in account["userToken"] for account in listed)
        one = await raw.get(f"/mj/account/{listed[1]['id']}/fetch")
        assert one.json == listed[1]
        task = await raw.task((await raw.submit("imagine", prompt="x")).result)
        assert task["properties"]["discordInstanceId"] in {account["id"] for account in listed}
        unknown = await raw.get("/mj/account/1/fetch")
        assert (unknown.status, unknown.body) == (200, b"")
        assert [r.kind for r in sim.requests[:2]] == ["other", "other"]


async def test_a_plus_server_is_asked_for_its_accounts() -> None:
    """POST /mj/account/query returns no secrets; the original has another path."""
    async with simulated(accounts=2) as (_, raw):
        listed = (await raw.post("/mj/account/query")).json
        assert len(listed) == 2
        assert "userToken" not in listed[0]
        assert (await raw.get("/mj/account/list")).status == 404
        assert (await raw.get("/mj/account/1/cancel")).status == 404
    async with simulated("original") as (_, raw):
        assert (await raw.post("/mj/account/query")).status == 404


# --- filters, flags, fields ----------------------------------------------------------------------


async def test_the_account_filter_chooses_the_account_and_the_speed() -> None:
    """PROTOCOL §1.1, §6.1: the path before the filter, the filter before a flag."""
    async with simulated(accounts=3) as (sim, raw):
        wanted = (await raw.account_ids())[2]
        wishes = {"accountFilter": {"instanceId": wanted, "modes": ["TURBO", "FAST"]}}
        answer = await raw.submit("imagine", prompt="x --relax", **wishes)
        task = sim.tasks[answer.result]
        assert (task.account_id, task.mode) == (wanted, "TURBO")
        answer = await raw.post("/mj-relax/mj/submit/imagine", prompt="x --fast", **wishes)
        assert sim.tasks[answer.result].mode == "RELAX"
        answer = await raw.submit("imagine", prompt="x", accountFilter={"instanceId": "1"})
        assert answer.code == 3
        answer = await raw.submit("imagine", prompt="x", accountFilter={"instanceId": 1})
        assert answer.json["success"] is False


@pytest.mark.parametrize(
    "flag,mode",
    [
        *(("--fast", "FAST"), ("--FAST", "FAST"), ("--turbo", "TURBO"), ("--relax", "RELAX")),
        *(("--Turbo", None), ("--RELAX", None), ("--fastest", None)),
    ],
)
async def test_a_flag_chooses_the_speed(flag: str, mode: str | None) -> None:
    """PROTOCOL §6.1: --fast in any case, the others in lower case only; else it is fast."""
    async with simulated() as (sim, raw):
        task = sim.tasks[(await raw.submit("imagine", prompt=f"x {flag}")).result]
        assert (task.requested_speed, task.mode) == (mode, mode or "FAST")


async def test_a_strong_variation_is_recorded() -> None:
    """PROTOCOL §1.8: a boolean of the action; other types cannot be bound."""
    async with simulated() as (sim, raw):
        grid = await raw.grid()
        answer = await raw.press(grid, "V1", strong=True)
        assert sim.tasks[answer.result].is_strong
        assert sim.submissions[-1].body["strong"] is True
        answer = await raw.press(grid, "V1")
        assert not sim.tasks[answer.result].is_strong
        assert (await raw.press(grid, "V1", strong="very")).json["success"] is False
        assert (await raw.press(grid, "V1", enableRemix=1)).json["success"] is False


async def test_what_has_no_picture_has_no_seed() -> None:
    """PROTOCOL §1.15: code 3 and HTTP 200."""
    async with simulated() as (_, raw):
        task = await raw.done(await raw.submit("shorten", prompt="a red fox"))
        answer = await raw.get(f"/mj/task/{task['id']}/image-seed")
        assert (answer.status, answer.code, answer.json["description"]) == (200, 3, "未找到 seed")


# --- the server's own patience -------------------------------------------------------------------


async def test_a_stalled_task_is_given_up_where_the_server_does() -> None:
    """PROTOCOL §3.6: five minutes on the original; not documented for Plus servers."""
    async with simulated("original") as (sim, raw):
        sim.fault("stall", at=46)
        task = await raw.grid()
        assert (task["status"], task["failReason"]) == ("FAILURE", "任务超时")
        assert task["progress"] == ""
        sim.fault("stall", at=46, for_ever=True)
        assert (await raw.grid())["progress"] == "46%"
    async with simulated() as (sim, raw):
        sim.fault("stall", at=46)
        assert (await raw.grid())["status"] == "IN_PROGRESS"


async def test_the_servers_patience_is_simulated_time() -> None:
    """No timeout before five minutes: with a frozen clock a stalled task does not change."""
    async with Simulator("original", time_scale=FROZEN, draw=False) as sim:
        engine = sim._engine
        sim.fault("stall", at=0)
        async with aiohttp.ClientSession() as session:
            url = f"{sim.url}/mj/submit/imagine"
            async with session.post(url, json={"prompt": "x"}) as answer:
                task = sim.tasks[(await answer.json())["result"]]
        start = task.request.received_at
        engine.advance(start + FROZEN * 300)
        assert task.status == "SUBMITTED"
        engine.advance(start + FROZEN * 302)
        assert (task.status, task.fail_reason) == ("FAILURE", "任务超时")


async def test_a_stuck_task_never_starts() -> None:
    """It stays NOT_START; an answered modal that is stuck stays MODAL."""
    async with simulated() as (sim, raw):
        grid = await raw.grid()
        opened = await raw.press(grid, "V1", enableRemix=True)
        sim.fault("stuck", times=2)
        task = await raw.done(await raw.submit("imagine", prompt="x"))
        assert (task["status"], task["progress"]) == ("NOT_START", None)
        task = await raw.done(await raw.submit("modal", taskId=opened.result))
        assert task["status"] == "MODAL"
        assert sim.in_flight == 2
