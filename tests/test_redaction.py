"""The token in replies: no form of it passes the transport."""

from __future__ import annotations

import html
import json
import traceback
import tracemalloc
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

import mjasync
from mjasync._http.redaction import Redactor, secrets_in
from support.pictures import PIXEL
from support.scripted_server import CALLS, TOKEN, answering, asking, http
from support.waiting import PATIENCE

ODD = "sk-a/b+c=d&e\"f'g\\h<i>\u00fc\U0001f600-0123456789"
FORMS = {
    "raw": str,
    "JSON": lambda token: json.dumps(token)[1:-1],
    "JSON with its slashes escaped": lambda token: json.dumps(token)[1:-1].replace("/", "\\/"),
    "JSON, every character escaped": lambda token: "".join(map(escaped, token)),
    "JSON in JSON": lambda token: json.dumps(json.dumps(token)[1:-1])[1:-1],
    "percent-encoded": lambda token: quote(token, safe=""),
    "percent-encoded, in small letters": lambda token: quote(token, safe="").lower(),
    "percent-encoded twice": lambda token: quote(quote(token, safe=""), safe=""),
    "a web page": html.escape,
    "a web page, as numbers": lambda token: "".join(f"&#x{ord(char):X};" for char in token),
}


def escaped(char: str) -> str:
    r"""One character as `\uXXXX`, in capitals."""
    units = char.encode("utf-16-be").hex().upper()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("token", [TOKEN, ODD])
def test_every_form_of_a_token_is_replaced(token: str, form: str) -> None:
    """Raw or escaped, in the middle of other text."""
    if form.endswith("small letters"):
        token = token.lower()
    shown = Redactor([token]).clean_text(f"x{FORMS[form](token)}y {FORMS[form](token)}")
    assert shown == "x***y ***"


def test_a_text_without_secrets_is_left_alone() -> None:
    """It is the same object: nothing is copied."""
    body = b'{"prompt": "\\u72d0\\u72f8 100%", "imageUrl": "https://cdn/i.png?ex=a%2Fb"}'
    assert Redactor([TOKEN]).clean(body) is not None
    assert Redactor([TOKEN]).clean(body) == body
    assert Redactor(["123456", "midjourney", "abc"]).clean(
        b'{"id": "1712345678", "url": "https://midjourney.example.com/abc.png"}'
    ) == (b'{"id": "1712345678", "url": "https://midjourney.example.com/abc.png"}')


def test_a_short_password_is_replaced_where_it_stands_alone() -> None:
    """A password may be part of an id or a host name by chance."""
    redactor = Redactor(["123456"])
    assert redactor.clean_text("bad token 123456.") == "bad token ***."
    assert redactor.clean_text("?key=123456&x") == "?key=***&x"


def test_backslashes_take_linear_time() -> None:
    """A long run of them is passed over."""
    run = b"\\" * 1_000_000
    assert Redactor(["\\u" * 10, TOKEN]).clean(run) == run


def test_the_secrets_of_headers() -> None:
    """The credentials with and without their scheme; of a login, the password, too."""
    assert set(secrets_in({"Authorization": "Basic dXNlcjpwYXNzd29yZA=="})) == {
        "Basic dXNlcjpwYXNzd29yZA==",
        "dXNlcjpwYXNzd29yZA==",
        "user:password",
        "password",
    }
    assert set(secrets_in({"A": "Bearer sk-1", "B": "Basic ü"})) >= {"sk-1", "Bearer sk-1", "ü"}


REPLIES = {
    "description": http(400, {"code": 4, "description": f"no {TOKEN}"}),
    "banned word": http(200, {"code": 24, "properties": {"bannedWord": TOKEN}}),
    "cut at 500 characters": http(200, "x" * 490 + TOKEN),
    "id": http(200, {"code": 1, "result": TOKEN, "id": TOKEN, "status": TOKEN}),
    "reason of the status": http(502).replace(b"Whatever", TOKEN.encode()),
    "header": http(429, headers={"Retry-After": TOKEN, TOKEN: "1"}),
    "escaped": http(401, b'{"error": "' + "".join(map(escaped, TOKEN)).encode() + b'"}'),
    "redirect": http(302, headers={"Location": f"https://elsewhere.example.com/{TOKEN}"}),
    "no HTTP": TOKEN.encode() + b" 200 OK\r\n\r\n",
    "bad header": b"HTTP/1.1 200 OK\r\n" + TOKEN.encode() + b"\r\n\r\n",
    "cut off": b"HTTP/1.1 200 OK\r\nX: " + TOKEN.encode() + b"\r\nContent-Length: 99\r\n\r\nx",
}


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("call", CALLS)
async def test_no_error_shows_a_token_that_a_server_repeats(call: str, reply: str) -> None:
    """Not in its text, its attributes, its causes, nor in the locals of its traceback."""
    async with answering(REPLIES[reply]) as server, asking(server.url) as mj:
        try:
            shown = repr(await CALLS[call](mj, server.url))
        except mjasync.MJError as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            shown = f"{error!r} {vars(error)} {''.join(told.format())}"
    assert TOKEN not in shown


@pytest.mark.parametrize("token", [TOKEN, "sk-a/b+c-0123456789"])
async def test_a_link_of_the_server_itself_keeps_its_token(token: str, tmp_path: Path) -> None:
    """The link is shown without the token, and fetched with it."""
    async with answering() as server:
        link = f"{server.url}/picture.png?token={quote(token, safe='')}"
        task = {"id": "1", "status": "SUCCESS", "action": "IMAGINE", "imageUrl": link}
        server.answers = [http(200, task), http(200, PIXEL)]
        async with mjasync.Client(server.url, token, timeout=PATIENCE) as mj:
            done = await mj.task("1")
            assert done.image_url == f"{server.url}/picture.png?token=***"
            await done.save(tmp_path / "fox.png")
    assert server.paths[-1] == f"/picture.png?token={quote(token, safe='')}"


async def test_the_token_is_put_back_for_no_other_host(tmp_path: Path) -> None:
    """A link that leads elsewhere does not get the token again."""
    async with answering() as other, answering() as server:
        link = f"{other.url}/picture.png?token={TOKEN}"
        task = {"id": "1", "status": "SUCCESS", "action": "IMAGINE", "imageUrl": link}
        server.answers, other.answers = [http(200, task)], [http(200, PIXEL)]
        async with mjasync.Client(server.url, TOKEN, timeout=PATIENCE) as mj:
            await (await mj.task("1")).save(tmp_path / "fox.png")
    assert other.paths == ["/picture.png?token=***"]


async def test_a_hook_that_raises_shows_no_answer() -> None:
    """What a hook of the caller's raises comes without the frames that hold the answer."""

    async def boom(*_: object) -> None:
        message = "a hook"
        raise RuntimeError(message)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(boom)
    async with (
        answering(http(200, [], {"X-Echo": TOKEN})) as server,
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        asking(server.url, session=session) as mj,
    ):
        with pytest.raises(RuntimeError, match="a hook") as caught:
            await mj.tasks()
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert TOKEN not in "".join(told.format())


async def test_cookies_are_not_even_read(caplog: pytest.LogCaptureFixture) -> None:
    """Those that it cannot understand, aiohttp logs with all they hold."""
    cookies = {"Set-Cookie": f"{TOKEN}[]=x"}
    async with answering(http(200, [], cookies)) as server, asking(server.url) as mj:
        await mj.tasks()
    assert TOKEN not in caplog.text


@pytest.mark.slow
def test_percent_signs_cost_no_memory() -> None:
    """A body full of them is searched as it is, not taken apart."""
    body = b"ab%" * (1 << 20) + b"%41"
    redactor = Redactor([TOKEN])
    tracemalloc.start()
    try:
        assert redactor.clean(body) is body
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()
    assert redactor.clean(body + TOKEN.replace("-", "%2D").encode()) == body + b"***"
