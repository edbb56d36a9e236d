"""Links of pictures: where they lead, and whether one goes there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

import mjasync
from mjasync import Client, ConfigurationError, InvalidRequest, LinkRefused, MalformedReply
from mjasync._http.links import candidate_urls, is_public, parse_link, redirect_url
from mjasync.errors import ConnectionFailed
from support.pictures import PNG
from support.scripted_server import TOKEN, answering, asking, finished, http, picture

API = "https://api.example.com"
MOUNTED = "https://api.example.com/mount"
LOCAL = "http://127.0.0.1:8080"


# --- where they lead ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link, base, addresses",
    [
        ("https://cdn.example.com/a.png?ex=1%2F2", API, ["https://cdn.example.com/a.png?ex=1%2F2"]),
        (" https://cdn/a b.png ", API, ["https://cdn/a%20b.png"]),
        ("https://cdn/狐狸.png", API, ["https://cdn/%E7%8B%90%E7%8B%B8.png"]),
        ("/mj/image/17", API, [f"{API}/mj/image/17"]),
        ("/mj/image/17", MOUNTED, [f"{MOUNTED}/mj/image/17"]),
        ("mj/image/17", MOUNTED, [f"{MOUNTED}/mj/image/17"]),
        ("/mount/mj/image/17?x=1", MOUNTED, [f"{MOUNTED}/mj/image/17?x=1"]),
        ("/files/17.png", MOUNTED, [f"{API}/files/17.png"]),
        ("//cdn.example.com/a.png", API, ["https://cdn.example.com/a.png"]),
        ("//cdn.example.com/a.png", LOCAL, ["http://cdn.example.com/a.png"]),
        ("http://localhost:3000/mj/image/17", API, [f"{API}/mj/image/17"]),
        ("http://localhost:3000/mj/image/17", MOUNTED, [f"{MOUNTED}/mj/image/17"]),
        ("http://[::1]:3000/mj/image/17", LOCAL, [f"{LOCAL}/mj/image/17"]),
        ("http://0.0.0.0:3000/attachments/a.png?x=1", API, [f"{API}/attachments/a.png?x=1"]),
        ("http://localhost:9/a.png", LOCAL, ["http://localhost:9/a.png"]),
        (
            "http://new-api:3000/mj/image/17",
            API,
            ["http://new-api:3000/mj/image/17", f"{API}/mj/image/17"],
        ),
        (f"{API}/mj/image/17", API, [f"{API}/mj/image/17"]),
    ],
)
def test_where_a_picture_is(link: str, base: str, addresses: list[str]) -> None:
    """A gateway that does not know its own address gives links that only it can follow."""
    assert [str(address) for address in candidate_urls(link, base)] == addresses


@pytest.mark.parametrize(
    "link",
    [
        "http://cdn:99999/a.png",
        "http://cdn:-1/a.png",
        "http://cdn:port/a.png",
        "http://[::1/a.png",
        "http://a b/c.png",
        "http:///a.png",
        "http://",
        "ftp://cdn/a.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "http://\udfff/a.png",
        "http://" + "狐" * 80 + "/a.png",
    ],
)
@pytest.mark.parametrize("use", ["save", "read", "images"])
async def test_a_broken_link_is_an_error_of_ours(link: str, use: str, tmp_path: Path) -> None:
    """Never a bare ValueError, whatever is done with the picture."""
    uses: dict[str, Callable[[mjasync.Task], Any]] = {
        "save": lambda task: task.save(tmp_path),
        "read": lambda task: task.read(),
        "images": lambda task: task.images(),
    }
    with pytest.raises(InvalidRequest, match="is not the http"):
        parse_link(link)
    text = link.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    async with answering(picture(text)) as server, finished(server) as task:
        with pytest.raises(mjasync.MJError):
            await uses[use](task)


@pytest.mark.parametrize("link", ["http://a..b/c.png", "http://" + "a" * 70 + ".example/c.png"])
async def test_a_host_that_cannot_be_looked_up(link: str) -> None:
    """The resolver's own errors are ours, too."""
    async with answering(picture(link)) as server, finished(server) as task:
        with pytest.raises(mjasync.MJError):
            await task.read()


async def test_links_of_a_gateway_that_does_not_know_its_address(tmp_path: Path) -> None:
    """Relative ones, and those to a machine of its own, are fetched from the base URL."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        for link in (
            "/mj/image/17",
            f"http://localhost:{port}/mj/image/17",
            f"http://127.0.0.1:{port}/mj/image/17",
        ):
            async with (
                answering(picture(link), http(200, PNG)) as server,
                finished(server) as task,
            ):
                await task.save(tmp_path / "fox.png")
            assert server.paths == ["/mj/task/17/fetch", "/mj/image/17"]
            assert TOKEN.encode() not in server.asked[1]


async def test_a_link_that_is_handed_in_is_the_callers() -> None:
    """It is asked where it leads; only where nothing answers, the server is tried."""
    receipt = http(200, {"code": 1, "result": "17"})
    async with answering(http(200, PNG)) as store, answering(receipt) as server:
        port = store.url.rpartition(":")[2]
        given = f"http://localhost:{port}/mj/image/17"
        async with asking(server.url) as mj:
            await mj.imagine("a fox", images=[given]).submit()
    assert store.paths == ["/mj/image/17"]
    assert server.paths == ["/mj/submit/imagine"]


# --- redirects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_to_signed_links_are_followed_byte_for_byte(status: int) -> None:
    """What is signed goes out as it came."""
    signed = "/s.png?c=key%2F20260101%2Fus&sig=a%2Fb%7E+=%E7%8B"
    async with answering() as server:
        moved = http(status, headers={"Location": signed})
        server.answers = [picture(f"{server.url}/go"), moved, http(200, PNG)]
        async with finished(server) as task:
            assert await task.read() == PNG
    assert server.paths[2] == signed


def test_where_redirects_lead() -> None:
    """Relative to where they come from; other scripts are quoted."""
    start = parse_link("https://cdn/a/b?x=1")
    assert str(redirect_url(start, "c.png?y=%2F")) == "https://cdn/a/c.png?y=%2F"
    assert str(redirect_url(start, "//other/c.png")) == "https://other/c.png"
    assert str(redirect_url(start, "/狐")) == "https://cdn/%E7%8B%90"
    assert str(redirect_url(start, "/\udcff")) == "https://cdn/%FF"
    with pytest.raises(InvalidRequest):
        redirect_url(start, "file:///etc/passwd")


async def test_a_circle_of_redirects_is_named() -> None:
    """It ends, and the error says where it led."""
    async with answering() as server:
        moved = http(302, headers={"Location": "/go?again"})
        server.answers = [picture(f"{server.url}/go"), moved]
        async with finished(server) as task:
            with pytest.raises(MalformedReply, match=r"redirected more than 10 times.*/go\?again"):
                await task.read()
    assert len(server.asked) == 11


# --- whether one goes there --------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, public",
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("10.0.0.5", False),
        ("172.17.0.2", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address that must not be asked
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.5", False),
        ("64:ff9b::a00:5", False),
        ("::127.0.0.1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:a00:5::", False),
    ],
)
def test_public_addresses(host: str, public: bool) -> None:
    """Also those that are wrapped into others."""
    assert is_public(host) is public


class Names(AbstractResolver):
    """Finds every name on this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """127.0.0.1."""
        found: ResolveResult = {
            "hostname": host,
            "host": "127.0.0.1",
            "port": port,
            "family": family,
            "proto": 0,
            "flags": 0,
        }
        return [found]

    async def close(self) -> None:
        """Nothing to close."""


async def test_public_links_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses, names and redirects: nothing private but the server itself is asked."""
    monkeypatch.setattr(aiohttp, "DefaultResolver", Names)
    async with answering(http(200, PNG)) as inside, answering() as server:
        port = inside.url.rpartition(":")[2]
        to_name, to_self = f"http://cdn.example.com:{port}/a.png", f"{server.url}/a.png"
        for link in (inside.url, f"http://localhost:{port}/a.png", to_name):
            server.answers = [picture(link)]
            async with finished(server, image_links="public") as task:
                with pytest.raises(LinkRefused, match=r"private address.*image_links=\"any\""):
                    await task.read()
        server.asked.clear()
        server.answers = [picture(to_self), http(302, headers={"Location": inside.url})]
        async with finished(server, image_links="public") as task:
            with pytest.raises(LinkRefused):
                await task.read()
        server.asked.clear()
        server.answers = [picture(to_self), http(200, PNG)]
        async with finished(server, image_links="public") as task:
            assert await task.read() == PNG
        assert not inside.asked


async def test_links_that_a_function_allows() -> None:
    """It is given each link, redirects too; those of the server itself need no leave."""
    asked: list[str] = []

    def allow(link: str) -> bool:
        asked.append(link)
        return link.endswith("/a.png")

    async with answering() as other, answering() as server:
        other.answers = [http(302, headers={"Location": "/b.png"})]
        server.answers = [picture(f"{other.url}/a.png")]
        async with finished(server, image_links=allow) as task:
            with pytest.raises(LinkRefused, match=r"b\.png"):
                await task.read()
    assert asked == [f"{other.url}/a.png", f"{other.url}/b.png"]
    assert other.paths == ["/a.png"]


async def allow_later(_: str) -> bool:
    """No function of this kind can be asked in between."""
    return True


@pytest.mark.parametrize("policy", ["private", None, True, allow_later, str])
def test_what_is_no_policy_for_links(policy: Any) -> None:  # noqa: ANN401
    """It is refused when the client is made."""
    with pytest.raises(ConfigurationError, match="image_links must be"):
        Client(API, image_links=policy)


# --- who is told what --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "session",
    [
        {"headers": {"CF-Access-Client-Secret": "s3cret-of-the-firm"}},
        {"cookies": {"session": "s3cret-of-the-firm"}},
        {"headers": {"Authorization": "Basic s3cret-of-the-firm"}},
    ],
)
async def test_nothing_of_a_given_session_goes_to_another_host(session: dict[str, Any]) -> None:
    """Its headers, cookies and logins are for the server; its hooks see every request."""
    seen: list[str] = []

    async def note(_: object, __: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        answering(http(200, PNG)) as other,
        answering() as server,
        aiohttp.ClientSession(cookie_jar=jar, trace_configs=[trace], **session) as given,
    ):
        server.answers = [picture(f"{other.url}/a.png", prompt="s3cret-of-the-firm")]
        async with finished(server, session=given) as task:
            await task.read()
    assert b"s3cret-of-the-firm" in server.asked[0]
    assert b"s3cret-of-the-firm" not in other.asked[0]
    assert "cookies" in session or task.info.prompt == "***"
    assert seen == ["/mj/task/17/fetch", "/a.png"]


async def test_headers_for_the_server_alone() -> None:
    """Basic auth of a gateway is on every call and its own pictures, nowhere else, never shown."""
    login = {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}
    async with answering(http(200, PNG)) as other, answering() as server:
        own, refused = f"{server.url}/a.png", http(401, {"message": "no dXNlcjpwYXNzd29yZA=="})
        server.answers = [picture(own), http(200, PNG), picture(f"{other.url}/a.png"), refused]
        async with finished(server, headers=login) as task:
            await task.read()
            await task.refresh()
            await task.read()
            with pytest.raises(mjasync.AuthenticationError) as caught:
                await task.refresh()
    assert all(b"Basic dXNlcjpwYXNzd29yZA==" in request for request in server.asked)
    assert TOKEN.encode() not in server.asked[1]
    assert b"dXNlcjpwYXNzd29yZA" not in other.asked[0]
    assert "no ***" in str(caught.value)


@pytest.mark.parametrize(
    "headers, words",
    [
        (["A: b"], "mapping"),
        ({"A b": "c"}, "not the name"),
        ({1: "c"}, "not the name"),
        ({"A": "b\r\nC: d"}, "cannot be sent"),
        ({"A": None}, "cannot be sent"),
        ({"content-length": "3"}, "set by the Client"),
    ],
)
def test_headers_that_cannot_be_sent(headers: Any, words: str) -> None:  # noqa: ANN401
    """They are refused when the client is made; no value is shown."""
    with pytest.raises(ConfigurationError, match=words):
        Client(API, headers=headers)


async def test_a_link_that_cannot_be_reached_is_still_one() -> None:
    """Where there is no other place to look, the failure to connect is what is raised."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        link = f"http://127.0.0.1:{nobody.getsockname()[1]}/a.png"
        async with answering(picture(link)) as server, finished(server) as task:
            with pytest.raises(ConnectionFailed):
                await task.read()


# --- what gateways say instead of a picture ----------------------------------------------------


async def test_a_gateway_that_refuses_private_addresses(tmp_path: Path) -> None:
    """The error says who refuses what, and which setting of the gateway mends it."""
    said = {"error": "request blocked: private IP address not allowed: 172.17.0.2"}
    async with (
        answering(picture("/mj/image/17"), http(403, said)) as server,
        finished(server) as task,
        asking(server.url) as mj,
    ):
        with pytest.raises(LinkRefused) as caught:
            await task.save(tmp_path)
        with pytest.raises(LinkRefused):
            await mj.image("17")
    for words in ("gateway refuses", "172.17.0.2", "HTTP 403", "new-api", "private IPs", "port"):
        assert words in str(caught.value)
    assert server.paths.count("/mj/image/17") == 2


async def test_a_picture_that_is_gone_upstream() -> None:
    """A gateway that serves pictures by id says so: it is no missing operation."""
    gone = http(404, {"error": '{"message": "Not Found"}'})
    async with answering(gone) as server, asking(server.url) as mj:
        with pytest.raises(mjasync.LinkExpired):
            await mj.image("17")
    nowhere = {"status": 404, "error": "Not Found", "path": "/mj/image/17"}
    for reply in (http(404, "<html>nginx</html>"), http(404, nowhere), http(200, "<html>a page")):
        async with answering(reply) as server, asking(server.url) as mj:
            with pytest.raises(mjasync.UnsupportedEndpoint):
                await mj.image("17")


async def test_a_link_that_stays_dead_advises_no_refresh() -> None:
    """A fresh one has been asked for already."""
    async with answering() as server:
        task, gone = picture(f"{server.url}/a.png"), http(404)
        server.answers = [task, gone, task, gone]
        async with finished(server) as job:
            with pytest.raises(mjasync.LinkExpired) as caught:
                await job.read()
    assert len(server.asked) == 4
    assert "efresh" not in str(caught.value)


# --- answers of the server ---------------------------------------------------------------------


async def test_a_redirect_of_a_call_is_named_and_not_followed() -> None:
    """It would take the token along; the error says where it leads, without the token."""
    async with answering() as other, answering() as server:
        server.answers = [http(302, headers={"Location": f"{other.url}/login?next={TOKEN}"})]
        async with asking(server.url) as mj:
            for call in (mj.tasks(), mj.task("17").refresh(), mj.imagine("a fox").submit()):
                with pytest.raises(mjasync.MJError) as caught:
                    await call
                assert f"a redirect to {other.url}/login?next=***" in str(caught.value)
        assert not other.asked


@pytest.mark.parametrize(
    "reply, words",
    [
        (http(200, b"x", {"Content-Encoding": "br"}), "br"),
        (http(200, b"nonsense" * 9, {"Content-Encoding": "gzip"}), "gzip"),
        (http(200, b"[]", {"Content-length": "3"}), "ontent-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", "chunk"),
        (http(200, b"[]", {"X": "x" * 70_000}), "bytes"),
    ],
)
async def test_what_makes_an_answer_unreadable_is_named(reply: bytes, words: str) -> None:
    """Whoever runs the server finds out what to mend."""
    async with answering(reply) as server, asking(server.url) as mj:
        with pytest.raises(ConnectionFailed, match=words):
            await mj.tasks()


@pytest.mark.parametrize("given", [True, False])
async def test_long_headers_are_read(given: bool) -> None:
    """Policies, cookies and traces of a firm's gateway, on answers and pictures, in any session."""
    long = {"Content-Security-Policy": "x" * 20_000}
    async with answering() as server:
        task = picture(f"{server.url}/a.png")
        task = task.replace(b"\r\n", b"\r\nX: " + b"y" * 9000 + b"\r\n", 1)
        server.answers = [task, http(200, PNG, long)]
        async with (
            aiohttp.ClientSession() as session,
            finished(server, session=session if given else None) as job,
        ):
            assert await job.read() == PNG


async def test_looks_ask_for_no_cached_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A cache that answers all the same is told of, once."""
    fresh, stale = http(200, [], {"Age": "0"}), http(200, [], {"Age": "31"})
    async with answering(fresh, stale) as server, asking(server.url) as mj:
        await mj.tasks()
        assert not caplog.records
        await mj.tasks()
        await mj.tasks()
    assert all(b"Cache-Control: no-cache" in request for request in server.asked)
    assert [record.getMessage() for record in caplog.records if "a cache" in record.msg][1:] == []
    assert "Age: 31" in caplog.text


async def test_who_asks() -> None:
    """Every request names this package and its version; a session's own name is kept."""
    async with answering() as other, answering() as server:
        server.answers = [picture(f"{other.url}/a.png"), picture(f"{server.url}/a.png")]
        server.answers += [http(200, PNG)]
        other.answers = [http(200, PNG)]
        async with finished(server) as job:
            await job.read()
            await job.refresh()
            await job.read()
            with pytest.raises(mjasync.MJError):
                await job.modal("a door").submit()
        agent = f"User-Agent: mjasync/{version('mjasync')}\r\n".encode()
        assert all(agent in request for request in [*server.asked, *other.asked])
        server.asked.clear()
        async with (
            aiohttp.ClientSession(headers={"User-Agent": "mine/1"}) as session,
            asking(server.url, session=session) as mj,
        ):
            with pytest.raises(mjasync.MJError):
                await mj.tasks()
        assert b"User-Agent: mine/1" in server.asked[0]
