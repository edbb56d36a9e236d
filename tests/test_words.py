"""Options and words that the protocol does not know pass through."""

from __future__ import annotations

import logging

import pytest

import mjasync
from mjasync import InvalidRequest, SubmitUncertain, TaskStalled
from mjasync.simulator import Simulator
from support.clients import connect

ODD = {
    "id": "42",
    "status": "SUCCESS",
    "action": "HOLOGRAM",
    "aura": "blue",
    "buttons": [{"customId": "MJ::Teleport::1::0123456789abcdef0123", "label": "Teleport"}],
}


async def test_unknown_words_pass_through(plain: Simulator) -> None:
    """An unknown action, button and field of a task stay usable."""
    plain.fault("reply", on="fetch", times=None, status=200, body=ODD)
    async with connect(plain) as mj:
        task = await mj.task("42")
    assert (task.info.action, task.raw["aura"]) == ("HOLOGRAM", "blue")
    assert task.buttons["Teleport"].custom_id.startswith("MJ::Teleport")


async def test_an_unknown_code_is_logged_once(
    plain: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A code nobody knows is told of one time, and is on the error."""
    plain.fault("reply", times=None, status=400, body={"code": 77, "description": "no"})
    with caplog.at_level(logging.WARNING, "mjasync"):
        async with connect(plain) as mj:
            for _ in range(2):
                with pytest.raises(SubmitUncertain) as caught:
                    await mj.imagine("a fox")
    assert caught.value.code == 77
    assert [record.getMessage().split()[2] for record in caplog.records] == ["77"]


async def test_an_unknown_status_is_waited_on(plain: Simulator) -> None:
    """A status nobody knows is pending, until the clocks end the wait."""
    plain.fault("reply", on="fetch", times=None, status=200, body={**ODD, "status": "POLISHING"})
    async with connect(plain, stall_timeout=0.05) as mj:
        with pytest.raises(TaskStalled):
            await mj.task("42")


@pytest.mark.parametrize("how", ["imagine", "video", "vary"])
async def test_a_speed_by_prompt_goes_wherever_a_prompt_goes(plain: Simulator, how: str) -> None:
    """speed_via="prompt" is said in every prompt Midjourney reads, those of modals included."""
    async with connect(plain, speed="relax", speed_via="prompt") as mj:
        if how == "imagine":
            await mj.imagine("a fox --turbo")
        elif how == "video":
            await mj.video("it runs --fast").submit()
        else:
            grid = await mj.imagine("a fox")
            await grid.vary(1, "a red fox")
    sent = plain.submissions[-1].body["prompt"]
    assert sent.endswith("--relax")
    assert sent.count("--") == 1
    assert all("relax" not in request.path for request in plain.requests)


async def test_a_speed_of_one_job_goes_on_in_its_prompts(plain: Simulator) -> None:
    """What follows a turbo job is turbo as well, where speed is said in the prompt."""
    async with connect(plain, speed="relax", speed_via="prompt") as mj:
        grid = await mj.imagine("a fox", speed="turbo")
        varied = await grid.vary(1, "a red fox")
        assert plain.submissions[-1].body["prompt"] == "a red fox --turbo"
        await varied.vary(2, "a blue fox")
        assert plain.submissions[-1].body["prompt"] == "a blue fox --turbo"


async def test_a_speed_that_cannot_be_said_is_refused(plain: Simulator) -> None:
    """A button without a prompt cannot carry a flag: better an error than the wrong price."""
    async with connect(plain, speed_via="prompt") as mj:
        grid = await mj.imagine("a fox")
        with pytest.raises(InvalidRequest, match="speed_via"):
            grid.upscale(1, speed="turbo")


async def test_further_fields_go_along(plain: Simulator) -> None:
    """`extra` and `language` reach the server as they are."""
    async with connect(plain) as mj:
        await mj.imagine("a fox", extra={"noStorage": True})
        assert plain.submissions[-1].body["noStorage"] is True
        picture = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0IEND\xaeB`\x82"
        await mj.describe(picture, language="zh").submit()
        assert plain.submissions[-1].body["language"] == "zh"


async def test_one_account_by_its_id() -> None:
    """`account` tells of one account without its secrets, and None of one that is not there."""
    async with Simulator("original", time_scale=0, draw=False) as sim, connect(sim) as mj:
        (first, *_) = await mj.accounts()
        same = await mj.account(first.id)
        assert same == first
        assert not [key for key in first.raw if "token" in key.lower()]
        assert await mj.account("nobody") is None
    async with Simulator(time_scale=0, draw=False) as sim, connect(sim) as mj:
        with pytest.raises(mjasync.UnsupportedEndpoint):
            await mj.account("1")
        assert len(sim.requests) == 1  # never a retry


async def test_the_stall_clock_of_a_wait_holds_for_what_comes_before(plain: Simulator) -> None:
    """`stall_timeout=` is the patience for the whole chain, not for its last link alone."""
    plain.fault("stall", at=10)
    async with connect(plain, stall_timeout=60.0) as mj:
        with pytest.raises(TaskStalled):
            await mj.imagine("a fox").upscale(1).wait(stall_timeout=0.05)
