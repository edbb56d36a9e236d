"""Bodies that hold pictures: the same JSON, in pieces, however often it is sent."""

from __future__ import annotations

import asyncio
import base64

import aiohttp
import orjson
import pytest
from answering import Answering, answering, asking, http
from hypothesis import given
from hypothesis import strategies as st

from mjasync import QueueFull, Retries, RetryPolicy, SubmitUncertain
from mjasync._wire import body as wire
from mjasync._wire import calls
from mjasync._wire.body import Body, DataUrl, in_words, make_body

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1000 + b"\0\0\0\0IEND\xaeB`\x82"
SPELT = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
ACCEPTED = {"code": 1, "description": "ok", "result": "1"}

pictures = st.builds(DataUrl, st.sampled_from(["image/png", "image/webp"]), st.binary(max_size=40))
values = st.one_of(
    pictures, st.text(max_size=30), st.integers(0, 9), st.lists(pictures | st.text())
)


async def sent(body: bytes | Body) -> bytes:
    """What goes over the wire."""
    if isinstance(body, bytes):
        return body
    whole = b"".join([bytes(piece) async for piece in body.pieces()])
    assert len(whole) == len(body)
    return whole


def bodies(server: Answering) -> list[bytes]:
    """The bodies of all requests."""
    return [request.partition(b"\r\n\r\n")[2] for request in server.asked]


@given(payload=st.dictionaries(st.text(max_size=5), values, max_size=4), piece=st.integers(1, 9))
async def test_pieces_make_the_same_json(payload: dict[str, object], piece: int) -> None:
    """However it is cut, what is sent is the payload as JSON, twice the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_PIECE", 4 * piece)
        patch.setattr(wire, "_ENCODED", 3 * piece)
        body = make_body(payload)
        assert orjson.loads(await sent(body)) == in_words(payload)
        assert await sent(body) == await sent(body)


@given(data=st.binary(max_size=100))
def test_a_picture_in_words(data: bytes) -> None:
    """Its text is a data URL, and its length is known before it is spelled out."""
    picture = DataUrl("image/png", data)
    assert str(picture) == f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert len(picture) == len(str(picture))


def test_pieces_are_small() -> None:
    """Nothing as long as a picture is made at once."""
    assert max(map(len, DataUrl("image/png", PNG).pieces())) == 1 << 16


@pytest.mark.parametrize("picture", [PNG, SPELT], ids=["bytes", "data url"])
async def test_a_large_body_has_a_length(picture: bytes | str) -> None:
    """It goes out whole, with its length and not in chunks, which some servers cannot read."""
    async with answering(http(200, ACCEPTED)) as server, asking(server.url) as mj:
        await mj.imagine("a 雨 fox", images=[picture, picture]).submit()
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"chunked" not in head
    assert orjson.loads(body)["base64Array"] == [SPELT, SPELT]


async def test_it_is_sent_again_whole() -> None:
    """A full queue took nothing: the second attempt carries the pictures as the first did."""
    full = http(200, {"code": 23, "description": "queue is full"})
    retries = Retries(busy=RetryPolicy(tries=2, first=0))
    async with (
        answering(full, http(200, ACCEPTED)) as server,
        asking(server.url, retries=retries) as mj,
    ):
        await mj.imagine("a fox", images=PNG).submit()
    first, second = bodies(server)
    assert first == second
    assert orjson.loads(first)["base64Array"] == [SPELT]


async def test_a_refusal_of_a_large_body() -> None:
    """A refusal is read though the body was long."""
    answer = http(200, {"code": 23, "description": "queue is full"})
    async with answering(answer) as server, asking(server.url) as mj:
        with pytest.raises(QueueFull):
            await mj.imagine("a fox", images=PNG).submit()


async def test_a_middleware_sends_it_again_whole() -> None:
    """A session of one's own may ask twice, with a fresh token say: both bodies are whole."""

    async def refresh(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        if response.status == 401:
            response.release()
            return await handler(request)
        return response

    async with (
        answering(http(401, "expired"), http(200, ACCEPTED)) as server,
        aiohttp.ClientSession(middlewares=(refresh,)) as session,
        asking(server.url, session=session) as mj,
    ):
        await mj.imagine("a fox", images=PNG).submit()
    first, second = bodies(server)
    assert first == second
    assert orjson.loads(second)["base64Array"] == [SPELT]


async def test_a_digest_of_the_body_can_be_made() -> None:
    """A middleware may ask for all the bytes: to sign them, for one."""
    signed: list[bytes] = []

    async def sign(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        assert not isinstance(request.body, bytes)
        signed.append(await request.body.as_bytes())
        return await handler(request)

    async with (
        answering(http(200, ACCEPTED)) as server,
        aiohttp.ClientSession(middlewares=(sign,)) as session,
        asking(server.url, session=session) as mj,
    ):
        await mj.imagine("a fox", images=PNG).submit()
    assert signed == bodies(server)


async def test_a_server_that_stops_reading() -> None:
    """A body that nobody takes is waited for as long as an answer, and closing does not hang."""
    over = asyncio.Event()

    async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket can
        await over.wait()
        writer.close()

    server = await asyncio.start_server(read_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    large = PNG[:8] + bytes(20 << 20) + PNG[-12:]
    async with asking(url, submit_timeout=0.2) as mj:
        with pytest.raises(SubmitUncertain, match="answer was lost"):
            await mj.imagine("a fox", images=large).submit()
    over.set()
    server.close()
    await server.wait_closed()


async def test_uncertain_tells_the_pictures_as_sent() -> None:
    """The payload on the error is the JSON that went out."""
    async with answering(http(502, "bad")) as server, asking(server.url) as mj:
        with pytest.raises(SubmitUncertain) as caught:
            await mj.imagine("a fox", images=PNG).submit()
    assert caught.value.payload == orjson.loads(bodies(server)[0])


async def test_uncertain_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the texts find no room the submission is uncertain all the same, and sent once."""

    def no_room(_: object) -> dict[str, object]:
        raise MemoryError

    monkeypatch.setattr(calls, "in_words", no_room)
    async with answering(http(502, "bad")) as server, asking(server.url) as mj:
        task = mj.imagine("a fox", images=PNG)
        for _ in range(2):
            with pytest.raises(SubmitUncertain) as caught:
                await task
    assert caught.value.payload["prompt"] == "a fox"
    assert len(server.asked) == 1
