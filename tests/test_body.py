"""Bodies that hold pictures: the same JSON, in pieces, however often it is sent."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import ClientClosed, InvalidRequest, QueueFull, Retries, RetryPolicy, SubmitUncertain
from mjasync._concurrency import run_in_worker
from mjasync._http import bodies as bodies_module
from mjasync._http import submission
from mjasync._http.bodies import (
    DataUrl,
    FileContent,
    RequestBody,
    encode_body,
    payload_with_data_urls,
)
from mjasync._media.inputs import as_data_url
from support.loopback import serving_streams
from support.scripted_server import Answering, answering, asking, http

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1000 + b"\0\0\0\0IEND\xaeB`\x82"
SPELT = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
ACCEPTED = {"code": 1, "description": "ok", "result": "1"}
FULL = http(200, {"code": 23, "description": "queue is full"})
TWICE = Retries(overloaded=RetryPolicy(max_attempts=2, initial_delay=0))

pictures = st.builds(DataUrl, st.sampled_from(["image/png", "image/webp"]), st.binary(max_size=40))
values = st.one_of(
    pictures, st.text(max_size=30), st.integers(0, 9), st.lists(pictures | st.text())
)


async def sent(body: bytes | RequestBody) -> bytes:
    """What goes over the wire."""
    if isinstance(body, bytes):
        return body
    whole = b"".join([bytes(piece) async for piece in body.pieces()])
    assert len(whole) == len(body)
    return whole


async def nowhere(_: str) -> bytes:
    """Nothing is downloaded."""
    raise AssertionError


def written(folder: Path, data: bytes) -> Path:
    """A file that holds them."""
    path = folder / "fox.png"
    path.write_bytes(data)
    return path


def rewrite(path: Path) -> None:
    """Put another picture of the same size in its place."""
    path.write_bytes(PNG[:8] + PNG[8:-12][::-1] + PNG[-12:])
    os.utime(path, (1, 1))  # however coarse the clock of the file system


def bodies(server: Answering) -> list[bytes]:
    """The bodies of all requests."""
    return [request.partition(b"\r\n\r\n")[2] for request in server.asked]


@given(payload=st.dictionaries(st.text(max_size=5), values, max_size=4), piece=st.integers(1, 9))
async def test_pieces_make_the_same_json(payload: dict[str, object], piece: int) -> None:
    """However it is cut, what is sent is the payload as JSON, twice the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies_module, "_PIECE_SIZE", 4 * piece)
        patch.setattr(bodies_module, "_ENCODED_PIECE_SIZE", 3 * piece)
        body = encode_body(payload)
        assert orjson.loads(await sent(body)) == payload_with_data_urls(payload)
        assert await sent(body) == await sent(body)


@given(data=st.binary(max_size=100))
def test_a_picture_in_words(data: bytes) -> None:
    """Its text is a data URL, and its length is known before it is spelled out."""
    picture = DataUrl("image/png", data)
    assert str(picture) == f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert len(picture) == len(str(picture))


@given(data=st.binary(min_size=1, max_size=99), block=st.integers(1, 9))
async def test_a_file_goes_as_its_bytes_would(data: bytes, block: int) -> None:
    """Whatever the size of its blocks, on the wire and in words nothing tells it from bytes."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(bodies_module, "_BLOCK_SIZE", 3 * block)
        patch.setattr(bodies_module, "_ENCODED_PIECE_SIZE", 6)
        file = FileContent.from_path(written(Path(folder), data))
        assert isinstance(file, FileContent)
        here, there = DataUrl("image/png", data), DataUrl("image/png", file)
        assert (len(here), str(here)) == (len(there), str(there))
        both = [RequestBody((b"<", DataUrl("image/png", one), one, b">")) for one in (data, file)]
        assert await sent(both[0]) == await sent(both[1]) == bytes(both[0])
        assert bytes(both[0]) == bytes(both[1])


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
    async with (
        answering(FULL, http(200, ACCEPTED)) as server,
        asking(server.url, retries=TWICE) as mj,
    ):
        await mj.imagine("a fox", images=PNG).submit()
    first, second = bodies(server)
    assert first == second
    assert orjson.loads(first)["base64Array"] == [SPELT]


async def test_files_are_not_held_in_memory(tmp_path: Path) -> None:
    """Of a hundred submissions that are about to be sent, none holds its picture."""
    picture = written(tmp_path, PNG[:-12] + bytes(1 << 20) + PNG[-12:])
    tracemalloc.start()
    try:
        made = [await as_data_url(picture, nowhere) for _ in range(100)]
        requests = [encode_body({"base64Array": [one]}) for one in made]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1 << 20
    assert len(requests[0]) > 4 * (1 << 20) // 3


def meddling(
    *, before: Callable[[], object] = int, after: Callable[[], object] = int
) -> aiohttp.ClientSession:
    """A session in which something happens before a request is sent, or after it was answered."""

    async def meddle(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        before()
        response = await handler(request)
        after()
        return response

    return aiohttp.ClientSession(middlewares=(meddle,))


async def test_a_file_is_sent_from_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of several blocks is read for each attempt, wherever the program has gone since."""
    data = PNG[:-12] + os.urandom(3 * bodies_module._BLOCK_SIZE) + PNG[-12:]
    written(tmp_path, data)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with (
        answering(FULL, http(200, ACCEPTED)) as server,
        meddling(after=lambda: os.chdir(tmp_path / "elsewhere")) as session,
        asking(server.url, retries=TWICE, session=session) as mj,
    ):
        await mj.imagine("a fox", images="fox.png").submit()
    spelt = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert [orjson.loads(body)["base64Array"] for body in bodies(server)] == [[spelt], [spelt]]


@pytest.mark.parametrize(
    "meddle, complaint",
    [
        (Path.unlink, r"fox\.png' cannot be read any more: No such file"),
        (lambda path: path.write_bytes(PNG + b"more"), r"fox\.png' has changed since"),
        (lambda path: os.truncate(path, 100), r"fox\.png' has changed since"),
        (rewrite, r"fox\.png' has changed since"),
    ],
    ids=["gone", "longer", "shorter", "another"],
)
async def test_a_file_that_changes_between_attempts(
    meddle: Callable[[Path], object], complaint: str, tmp_path: Path
) -> None:
    """The next attempt is not made: nothing is paid for another picture than was meant."""
    picture = written(tmp_path, PNG)
    async with (
        answering(FULL, http(200, ACCEPTED)) as server,
        meddling(after=lambda: meddle(picture)) as session,
        asking(server.url, retries=TWICE, session=session) as mj,
    ):
        task = mj.imagine("a fox", images=picture)
        for _ in range(2):
            with pytest.raises(InvalidRequest, match=complaint):
                await task.submit()
    assert len(server.asked) == 1


async def test_what_is_sent_waits_for_nothing_else(tmp_path: Path) -> None:
    """A submission on the wire goes on while what is given for another is long in coming."""
    loop, asked, there = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            loop.call_soon_threadsafe(asked.set)
            there.wait(9)
            return super().read(size)

    body = encode_body({"base64": await as_data_url(written(tmp_path, PNG), nowhere)})
    reading = asyncio.create_task(as_data_url(Slow(PNG), nowhere))
    await asked.wait()
    assert len(await sent(body)) == len(body)
    assert not reading.done()
    there.set()
    assert str(await reading) == SPELT


@pytest.mark.parametrize("closes", [False, True], ids=["waiter leaves", "client closes"])
async def test_a_file_that_is_long_in_coming(
    closes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While files are checked nothing is on the wire: who leaves keeps it from being sent."""
    loop, looked, there = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow(_: FileContent) -> None:
        loop.call_soon_threadsafe(looked.set)
        there.wait(9)

    monkeypatch.setattr(FileContent, "check", slow)
    async with answering(http(200, ACCEPTED)) as server:
        mj = asking(server.url)
        submitting = asyncio.create_task(
            mj.imagine("a fox", images=written(tmp_path, PNG)).submit()
        )
        await looked.wait()
        if not closes:
            submitting.cancel()
        await mj.close()
        there.set()
        with pytest.raises(ClientClosed if closes else asyncio.CancelledError):
            await submitting
    assert server.asked == []


@pytest.mark.parametrize(
    "meddle, complaint",
    [
        (Path.unlink, r"\(The file '.*fox\.png' cannot be read any more: No such file"),
        (lambda path: os.truncate(path, 9), r"\(The file '.*fox\.png' has changed since"),
    ],
    ids=["gone", "shorter"],
)
async def test_a_file_that_breaks_off_on_the_wire(
    meddle: Callable[[Path], object], complaint: str, tmp_path: Path
) -> None:
    """A request that has begun may have been taken, whatever became of its file; it is named."""
    picture = written(tmp_path, PNG)
    async with (
        answering(http(200, ACCEPTED)) as server,
        meddling(before=lambda: meddle(picture)) as session,
        asking(server.url, retries=TWICE, session=session) as mj,
    ):
        with pytest.raises(SubmitUncertain, match=complaint) as caught:
            await mj.imagine("a fox", images=picture).submit()
    assert caught.value.payload["prompt"] == "a fox"
    assert server.asked == []


async def test_a_file_that_grows_on_the_wire(tmp_path: Path) -> None:
    """As much goes out as was promised: more would be taken for the next request."""
    picture = written(tmp_path, PNG)

    def grow() -> None:
        with picture.open("ab") as file:
            file.write(PNG)

    async with (
        answering(http(200, ACCEPTED)) as server,
        meddling(before=grow) as session,
        asking(server.url, session=session) as mj,
    ):
        await mj.imagine("a fox", images=picture).submit()
    assert orjson.loads(bodies(server)[0])["base64Array"] == [SPELT]


async def test_a_file_that_is_gone_before_its_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that vanishes while another is fetched is refused as any that cannot be read."""
    picture = written(tmp_path, PNG)

    async def download(_: object, url: str) -> bytes:
        await run_in_worker(
            picture.unlink, queue="given"
        )  # after it was looked at, in the same thread
        return PNG

    async with answering(http(200, ACCEPTED)) as server, asking(server.url) as mj:
        monkeypatch.setattr(type(mj._context), "download_input", download)
        with pytest.raises(InvalidRequest, match=r"fox\.png' cannot be read any more"):
            await mj.upload([picture, f"{server.url}/fox.png"])
    assert server.asked == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
async def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """What comes only once is kept, to be sent again."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with (
        answering(FULL, http(200, ACCEPTED)) as server,
        asking(server.url, retries=TWICE) as mj,
    ):
        submitting = asyncio.create_task(mj.imagine("a fox", images=pipe).submit())
        await asyncio.to_thread(pipe.write_bytes, PNG)
        await submitting
    assert [orjson.loads(body)["base64Array"] for body in bodies(server)] == [[SPELT], [SPELT]]


async def test_a_refusal_of_a_large_body() -> None:
    """A refusal is read though the body was long."""
    async with answering(FULL) as server, asking(server.url) as mj:
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

    async def read_nothing(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket can
        await over.wait()
        writer.close()

    large = PNG[:8] + bytes(20 << 20) + PNG[-12:]
    async with serving_streams(read_nothing) as url, asking(url, submit_timeout=0.2) as mj:
        with pytest.raises(SubmitUncertain, match="response was lost"):
            await mj.imagine("a fox", images=large).submit()


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

    monkeypatch.setattr(submission, "payload_with_data_urls", no_room)
    async with answering(http(502, "bad")) as server, asking(server.url) as mj:
        task = mj.imagine("a fox", images=PNG)
        for _ in range(2):
            with pytest.raises(SubmitUncertain) as caught:
                await task
    assert caught.value.payload["prompt"] == "a fox"
    assert len(server.asked) == 1
