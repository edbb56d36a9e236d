"""The simulator as the original Midjourney-Proxy: six actions, no buttons, Spring's errors."""

from __future__ import annotations

import aiohttp
import pytest

from mjasync.simulator import Simulator
from support.pictures import data_url
from support.raw_http import FROZEN, simulated

KEYS = [
    *("id", "properties", "action", "status", "prompt", "promptEn", "description", "state"),
    *("submitTime", "startTime", "finishTime", "imageUrl", "progress", "failReason"),
]


async def test_a_task_has_no_buttons() -> None:
    """Exactly the fourteen keys of PROTOCOL §3.1."""
    async with simulated("original") as (_, raw):
        task = await raw.grid("a fox")
        assert list(task) == KEYS
        assert "discordChannelId" not in task["properties"]
        answer = await raw.submit("imagine", prompt="x")
        assert list(answer.json["properties"]) == ["discordInstanceId"]


async def test_an_unknown_id_is_200_and_empty() -> None:
    """PROTOCOL §1.15; after a restart that forgets, every id is unknown."""
    async with simulated("original") as (sim, raw):
        grid = await raw.grid()
        sim.forget()
        answer = await raw.get(f"/mj/task/{grid['id']}/fetch")
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "headers", [{}, {"mj-api-secret": "wrong"}, {"Authorization": "sim-token"}]
)
async def test_auth_reads_one_header_and_refuses_with_nothing(headers: dict[str, str]) -> None:
    """401 with an empty body (PROTOCOL §6.2)."""
    async with (
        Simulator("original", token="sim-token") as sim,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{sim.url}/mj/task/1/fetch") as answer,
    ):
        assert (answer.status, await answer.read()) == (401, b"")


async def test_other_headers_do_not_matter_to_auth() -> None:
    """A Bearer header beside the right secret is ignored."""
    async with simulated("original") as (_, raw):
        headers = {"Authorization": "Bearer nonsense"}
        assert (await raw.get("/mj/task/1/fetch", headers=headers)).status == 200


@pytest.mark.parametrize(
    "method,path",
    [
        *(("POST", f"/mj/submit/{name}") for name in ("action", "modal", "shorten")),
        ("POST", "/mj/submit/upload-discord-images"),
        ("POST", "/mj/insight-face/swap"),
        ("POST", "/mj/task/list-by-ids"),
        ("GET", "/mj/task/1/image-seed"),
        ("POST", "/mj/task/1/cancel"),
    ],
)
async def test_what_it_does_not_have_is_springs_404(method: str, path: str) -> None:
    """PROTOCOL §7.5."""
    async with simulated("original") as (_, raw):
        answer = await raw.call(method, path, json={"prompt": "x"})
        assert answer.status == 404
        assert list(answer.json) == ["timestamp", "status", "error", "path"]
        assert (answer.json["error"], answer.json["path"]) == ("Not Found", path)


@pytest.mark.parametrize(
    "data,content_type,status",
    [
        (b"{", "application/json", 400),
        (b'{"action": "ZOOM", "taskId": "1"}', "application/json", 400),
        (b'{"action": "UPSCALE", "taskId": ["1"], "index": 1}', "application/json", 400),
        (b"prompt=x", "text/plain", 415),
    ],
)
async def test_what_does_not_bind_is_springs_error(
    data: bytes, content_type: str, status: int
) -> None:
    """PROTOCOL §7.1-H."""
    async with simulated("original") as (_, raw):
        answer = await raw.call(
            "POST", "/mj/submit/change", data=data, headers={"Content-Type": content_type}
        )
        assert (answer.status, answer.json["status"]) == (status, status)


async def test_numbers_are_taken_for_strings() -> None:
    """Jackson turns a number into a string where one is wanted."""
    async with simulated("original") as (_, raw):
        task = await raw.grid()
        answer = await raw.submit("change", taskId=int(task["id"]), action="UPSCALE", index="1")
        assert answer.code == 1
        listed = await raw.post("/mj/task/list-by-condition", ids=[int(task["id"])])
        assert [entry["id"] for entry in listed.json] == [task["id"]]
        assert (await raw.post("/mj/task/list-by-condition", ids=[[]])).status == 400


async def test_only_data_urls_are_pictures() -> None:
    """Bare base64 and links are code 4 (PROTOCOL §1.1)."""
    async with simulated("original") as (sim, raw):
        bare = data_url().partition(",")[2]
        for image in (bare, "https://a.b/c.png"):
            answer = await raw.submit("imagine", prompt="x", base64Array=[image])
            assert (answer.code, answer.json["description"]) == (4, "base64格式错误")
            assert (await raw.submit("describe", base64=image)).code == 4
        assert (await raw.submit("describe", link="https://a.b/c.png")).code == 4
        answer = await raw.submit("imagine", prompt="x", base64=data_url())
        assert sim.tasks[answer.result].image_sizes


async def test_a_full_queue_is_code_23_without_an_id() -> None:
    """PROTOCOL §2."""
    async with simulated("original", time_scale=FROZEN, concurrency=1, queue_size=2) as (_, raw):
        answers = [await raw.submit("imagine", prompt="x") for _ in range(4)]
        assert [answer.code for answer in answers] == [1, 1, 22, 23]
        assert answers[3].result is None


async def test_a_banned_prompt_is_code_24_at_once() -> None:
    """PROTOCOL §2."""
    async with simulated("original") as (_, raw):
        answer = await raw.submit("imagine", prompt="some gore")
        assert (answer.status, answer.code) == (200, 24)
        assert answer.json["properties"]["bannedWord"] == "gore"


@pytest.mark.parametrize(
    "change,action",
    [
        ({"action": "UPSCALE", "index": 1}, "UPSCALE"),
        ({"action": "VARIATION", "index": 4}, "VARIATION"),
        ({"action": "REROLL"}, "REROLL"),
    ],
)
async def test_change_upscales_varies_and_rerolls(change: dict[str, object], action: str) -> None:
    """PROTOCOL §1.6; every one is a new task."""
    async with simulated("original") as (sim, raw):
        grid = await raw.grid()
        tasks = [
            await raw.done(await raw.submit("change", taskId=grid["id"], **change))
            for _ in range(2)
        ]
        assert [task["action"] for task in tasks] == [action] * 2
        assert tasks[0]["id"] != tasks[1]["id"]
        assert sim.submissions[-1].parent_id == grid["id"]
        assert tasks[0]["properties"]["referencedMessageId"]


async def test_an_unknown_parent_is_code_3_with_http_200() -> None:
    """Only the later servers say 404 (PROTOCOL §1.6)."""
    async with simulated("original") as (_, raw):
        answer = await raw.submit("change", taskId="1", action="REROLL")
        assert (answer.status, answer.code) == (200, 3)


async def test_a_change_without_an_index_is_http_500() -> None:
    """It unboxes a null (PROTOCOL §1.6)."""
    async with simulated("original") as (sim, raw):
        grid = await raw.grid()
        answer = await raw.submit("change", taskId=grid["id"], action="UPSCALE")
        assert (answer.status, answer.json["error"]) == (500, "Internal Server Error")
        assert len(sim.submissions) == 1


async def test_an_index_out_of_range_is_accepted_and_fails() -> None:
    """The index is not checked before it reaches Discord (PROTOCOL §1.6)."""
    async with simulated("original") as (_, raw):
        grid = await raw.grid()
        answer = await raw.submit("change", taskId=grid["id"], action="UPSCALE", index=9)
        task = await raw.done(answer)
        assert (task["status"], task["progress"]) == ("FAILURE", "")
        assert "Invalid Form Body" in task["failReason"]


@pytest.mark.parametrize(
    "operation,action",
    [("U1", "UPSCALE"), ("v2", "VARIATION"), ("R", "REROLL"), ("U12", "UPSCALE")],
)
async def test_simple_change_reads_an_id_and_an_operation(operation: str, action: str) -> None:
    """PROTOCOL §1.7: of any case, and only the first digit counts."""
    async with simulated("original") as (sim, raw):
        grid = await raw.grid()
        answer = await raw.submit("simple-change", content=f"{grid['id']} {operation}")
        task = await raw.done(answer)
        assert (task["action"], sim.submissions[-1].endpoint) == (action, "simple-change")


@pytest.mark.parametrize("content", ["", "1", "1  U1", "1 U1 x", "1 X1", "1 U", "1 Ux"])
async def test_a_simple_change_is_exactly_two_words(content: str) -> None:
    """Anything else is code 4."""
    async with simulated("original") as (_, raw):
        answer = await raw.submit("simple-change", content=content)
        assert (answer.code, answer.json["description"]) == (4, "content参数错误")


async def test_describe_puts_its_text_into_the_prompt() -> None:
    """PROTOCOL §1.4: prompt, promptEn and properties.finalPrompt are the same text."""
    async with simulated("original") as (_, raw):
        task = await raw.done(await raw.submit("describe", base64=data_url()))
        text = task["properties"]["finalPrompt"]
        assert text.startswith("1️⃣ ")
        assert task["prompt"] == task["promptEn"] == text
        assert "finalZhPrompt" not in task["properties"]


async def test_the_list_has_everything() -> None:
    """All tasks, the newest first (PROTOCOL §1.15)."""
    async with simulated("original") as (_, raw):
        ids = [(await raw.submit("imagine", prompt="x")).result for _ in range(102)]
        assert [task["id"] for task in (await raw.get("/mj/task/list")).json] == ids[::-1]


async def test_an_expired_link_is_404() -> None:
    """PROTOCOL §7.3."""
    async with simulated("original") as (sim, raw):
        grid = await raw.grid()
        sim.expire_links()
        assert (await raw.get(grid["imageUrl"])).status == 404


async def test_account_filters_are_ignored() -> None:
    """Unknown properties do no harm (PROTOCOL §1.0)."""
    async with simulated("original") as (sim, raw):
        answer = await raw.submit("imagine", prompt="x", accountFilter=7, nonsense=1)
        assert sim.tasks[answer.result].mode == "FAST"
