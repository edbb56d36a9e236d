"""What a server says of itself, and what an error makes of it: words, hints, terminals."""

from __future__ import annotations

import asyncio
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from mjasync import (
    AuthenticationError,
    ButtonNotFound,
    Client,
    ConnectionFailed,
    InvalidRequest,
    MJError,
    NoAccount,
    QuotaExhausted,
    Retries,
    SubmitUncertain,
    UnsupportedEndpoint,
)
from mjasync.batch import Batch, JobStatus
from mjasync.simulator import Simulator
from support.clients import EAGER, QUICK, connect
from support.clock import FakeClock
from support.ports import reserved_port
from support.scripted_server import TOKEN, answering, asking, http
from support.sent_requests import submits
from support.waiting import turns

ID = "1700000000000001"
PROVIDER = "无法获取provider:"
NO_CHANNEL = {
    "one-hub, none": (400, 5, f"{PROVIDER}当前分组 default 下对于模型 mj_imagine 无可用渠道 "),
    "one-hub, off": (400, 5, f"{PROVIDER}该渠道已被禁用 "),
    "one-hub, wrong": (400, 5, f"{PROVIDER}无效的渠道 Id "),
    "new-api, parent's": (400, 4, "该任务所属渠道已被禁用 "),
}
NO_CHANNEL_NESTED = {
    "new-api": (503, "No available channel for model mj_imagine under group default (distributor)"),
    "one-api": (
        503,
        "There are no channels available for model mj_imagine under the group default",
    ),
    "one-api, off": (403, "该渠道已被禁用"),
    "one-api, wrong": (400, "无效的渠道 Id"),
}
REPLIES: dict[str, tuple[int, dict[str, Any]]] = {
    name: (status, {"code": code, "description": words, "type": "internal_error"})
    for name, (status, code, words) in NO_CHANNEL.items()
} | {
    name: (status, {"error": {"message": words, "type": "new_api_error"}})
    for name, (status, words) in NO_CHANNEL_NESTED.items()
}


@pytest.mark.parametrize("status, body", REPLIES.values(), ids=REPLIES)
async def test_no_channel_is_no_account(status: int, body: object) -> None:
    """In whatever words a gateway says that it has no channel, the job was not taken."""
    async with (
        answering(http(status, body)) as server,
        asking(server.url, retries=EAGER) as mj,
    ):
        with pytest.raises(NoAccount):
            await mj.imagine("a fox").submit()
    assert len(server.asked) == EAGER.no_account.max_attempts


@pytest.mark.parametrize("name", REPLIES)
async def test_no_channel_makes_no_batch_uncertain(
    plain: Simulator, name: str, tmp_path: Path
) -> None:
    """A batch whose gateway has no channel for now sends the job again, which is paid once."""
    status, body = REPLIES[name]
    plain.fault("reply", on="submit", status=status, body=body)
    async with connect(plain) as mj, Batch(tmp_path, client=mj) as batch:
        batch.add("a fox")
        states = [job.status async for job in batch.run()]
    assert states == [JobStatus.SAVED]
    assert len(plain.submissions) == 1
    assert submits(plain) == 2


@pytest.mark.parametrize(
    "words", ["令牌额度已用尽", "该令牌额度已用尽 TokenStatusExhausted[sk-***]"]
)
async def test_money_that_is_used_up(words: str) -> None:
    """A token without money left is `QuotaExhausted`, also while a paid task is waited for."""
    broke = http(401, {"error": {"message": words, "type": "one_hub_error"}})
    receipt = http(200, {"code": 1, "result": ID})
    async with (
        answering(receipt, broke) as server,
        asking(server.url, schedule=QUICK, retries=EAGER) as mj,
    ):
        task = await mj.imagine("a fox").submit()
        for ask in (task.wait(), task.refresh(), mj.imagine("an owl").submit()):
            with pytest.raises(QuotaExhausted, match="额度已用尽"):
                await ask


@pytest.mark.parametrize(
    "token, auth, says, says_not",
    [
        (TOKEN, "secret", 'auth="bearer"', "MJASYNC_TOKEN"),
        (TOKEN, "bearer", 'auth="secret"', 'auth="bearer"'),
        ("", "secret", "No token is set", 'auth="bearer"'),
    ],
)
async def test_what_to_do_about_a_refused_token(
    token: str, auth: object, says: str, says_not: str
) -> None:
    """The advice fits how the token was shown, if there is one."""
    async with (
        answering(http(401)) as server,
        Client(server.url, token, auth=auth, retries=Retries.none()) as mj,  # type: ignore[arg-type]
    ):
        for ask in (mj.task(ID).refresh(), mj.imagine("a fox").submit()):
            with pytest.raises(AuthenticationError) as caught:
                await ask
            assert says in str(caught.value)
            assert says_not not in str(caught.value)


async def test_a_speed_that_has_no_path() -> None:
    """A server without the speed's path is told of with the path and the other way."""
    async with answering(http(404)) as server, asking(server.url, speed="turbo") as mj:
        for ask in (mj.task(ID).refresh(), mj.imagine("a fox").submit()):
            with pytest.raises(UnsupportedEndpoint, match=r"/mj-turbo.*speed_via=.prompt"):
                await ask
    async with answering(http(404)) as server, asking(server.url) as mj:
        with pytest.raises(UnsupportedEndpoint) as caught:
            await mj.imagine("a fox").submit()
        assert "speed_via" not in str(caught.value)


@pytest.mark.parametrize(
    "detail, words",
    [
        ("the prompt is too long", "the prompt is too long"),
        ([{"loc": ["body", "prompt"], "msg": "field required"}], "prompt: field required"),
    ],
)
async def test_fastapi_says_what_is_wrong(detail: object, words: str) -> None:
    """FastAPI's `detail`, a text or a list, is read as the server's words."""
    async with answering(http(422, {"detail": detail})) as server, asking(server.url) as mj:
        with pytest.raises(InvalidRequest, match=words):
            await mj.imagine("a fox").submit()


@pytest.mark.parametrize(
    "answer, words",
    [
        (http(503, "first byte timeout"), "first byte timeout"),
        (http(502, "<html><title>502 Bad Gateway</title>"), "502 Bad Gateway"),
        (http(500, {"detail": "database is locked"}), "database is locked"),
        (http(200, {"status": "odd"}), "odd"),
        (http(302, headers={"Location": "/login"}), "/login"),
    ],
)
async def test_an_uncertain_submission_repeats_the_words(answer: bytes, words: str) -> None:
    """Whoever has to decide about a lost submission sees what was said."""
    async with answering(answer) as server, asking(server.url) as mj:
        with pytest.raises(SubmitUncertain, match=words):
            await mj.imagine("a fox").submit()


async def test_an_answer_too_long_is_uncertain() -> None:
    """A submission whose answer is longer than allowed may have been taken."""
    long = http(200, {"code": 1, "result": ID, "description": "x" * (17 << 20)})
    async with answering(long) as server, asking(server.url) as mj:
        with pytest.raises(SubmitUncertain, match="longer than"):
            await mj.imagine("a fox").submit()
    assert len(server.asked) == 1


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_restart_is_waited_for(clock: FakeClock, comes_back: bool) -> None:
    """A server that is down for twenty seconds gets its submission; one that stays down, none."""
    with reserved_port() as port:
        sim = Simulator(time_scale=0, draw=False, port=port)
        url = f"http://127.0.0.1:{port}"
        async with connect(sim, base_url=url, clock=clock, retries=Retries()) as mj:
            begun = clock.now()
            waiting = asyncio.ensure_future(mj.imagine("a fox").submit())
            for _ in range(20):
                await clock.advance(1, mj)
                await turns(10)
            assert not waiting.done()
            if comes_back:
                await sim.start()
            await clock.until_done(waiting, mj)
            if not comes_back:
                with pytest.raises(ConnectionFailed):
                    await waiting
            assert clock.now() - begun <= 30 + 5  # the last wait may end after the budget's
            assert len(sim.submissions) == comes_back
            await asyncio.gather(waiting, return_exceptions=True)
        await sim.stop()


ODD = "\x1b]0;owned\x07\x1b[31mred\x9b31m\u202egnp.exe\r\nFORGED\u2028LINE\x00"


@pytest.mark.parametrize(
    "body",
    [
        {"code": 4, "description": ODD},
        {"code": 24, "description": ODD, "properties": {"bannedWord": ODD, "promptEn": ODD}},
        {"code": 77, "description": ODD},
        {"code": 1, "description": ODD, "result": {ODD: ODD}},
        {"detail": ODD},
        {ODD: ODD},
        f"<html><title>{ODD}</title>",
        ODD,
    ],
)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 503])
async def test_no_error_moves_a_terminal(
    status: int, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    """What a server says is shown on one line, and without characters that act."""
    caplog.set_level("DEBUG")
    headers = {"Location": "/\u202e%0A"} if status == 302 else {}
    async with answering(http(status, body, headers=headers)) as server, asking(server.url) as mj:
        asked = (
            mj.imagine("a fox").submit(),
            mj.task(ID).refresh(),
            mj.task(ID).seed(),
            mj.tasks(),
            mj.fetch([ID]),
        )
        for ask in asked:
            with pytest.raises(MJError) as caught:
                await ask
            shown = [str(caught.value), repr(caught.value)]
            shown += [record.getMessage() for record in caplog.records if record.name == "mjasync"]
            caplog.clear()
            for text in shown:
                acts = {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Zl"}}
                assert not acts, text


async def test_no_repr_moves_a_terminal() -> None:
    """Neither do a task, its snapshot and its buttons, whatever a server calls them."""
    button = {"customId": ODD, "label": ODD, "emoji": ODD, "style": 2, "type": 2}
    task = {"id": ID, "status": ODD, "action": ODD, "prompt": ODD, "buttons": [button]}
    async with answering(http(200, task)) as server, asking(server.url) as mj:
        known = await mj.task(ID).refresh()
        with pytest.raises(ButtonNotFound) as caught:
            known.buttons["none"]
        shown = [repr(known), repr(known.info), repr(known.buttons), repr(known.status)]
        for text in (*shown, str(caught.value)):
            assert not {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Zl"}}
