"""From whatever people paste to the URL of every call: PROTOCOL §6.1."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import ConfigurationError
from mjasync._protocol.urls import ServerUrl
from support.scripted_server import TOKEN, answering, asking, http

HOST = "https://api.example.com"
SPEEDS = (None, "relax", "fast", "turbo")
IMAGE_HOSTS = (None, "relay", "origin", "proxy")

PASTED = (
    # what is pasted, and the root of the calls it means
    ("", "/mj"),
    ("/", "/mj"),
    ("//", "/mj"),
    ("/mj", "/mj"),
    ("/mj/", "/mj"),
    ("/mj/submit/imagine", "/mj"),
    ("/mj/submit/imagine/", "/mj"),
    ("/mj/task/1700000000000001/fetch", "/mj"),
    ("/mj-turbo", "/mj-turbo/mj"),
    ("/mj-turbo/", "/mj-turbo/mj"),
    ("/mj-turbo/mj", "/mj-turbo/mj"),
    ("/mj-turbo-proxy", "/mj-turbo-proxy/mj"),
    ("/mj-turbo-proxy/mj", "/mj-turbo-proxy/mj"),
    ("/mj-turbo-proxy/mj/", "/mj-turbo-proxy/mj"),
    ("/mj-turbo-proxy/mj/submit/imagine", "/mj-turbo-proxy/mj"),
    ("/mj-relay", "/mj-relay/mj"),
    ("/mj-relay/mj", "/mj-relay/mj"),
    ("/mj-fast-origin/mj", "/mj-fast-origin/mj"),
    ("/mount", "/mount/mj"),
    ("/mount/mj", "/mount/mj"),
    ("/a/b/", "/a/b/mj"),
    ("/a/b/mj-relax/mj/submit/blend", "/a/b/mj-relax/mj"),
    ("/fast", "/fast/mj"),
    ("/fast/mj", "/fast/mj"),
    ("/mj-quick/mj", "/mj-quick/mj"),
    ("/mj-proxy-turbo/mj", "/mj-proxy-turbo/mj"),
    ("/mj#top", "/mj"),
    ("/mj?", "/mj"),
    ("/#/login", "/mj"),
    ("/caf%C3%A9/mj", "/caf%C3%A9/mj"),
    ("/café", "/caf%C3%A9/mj"),
)


@pytest.mark.parametrize("path, root", PASTED)
def test_pasted_forms(path: str, root: str) -> None:
    """Every form in which people paste a base URL leads to the same calls."""
    route = ServerUrl.parse(f" {HOST}{path}\n")
    assert route.root == HOST + root
    assert str(route.endpoint("submit/imagine")) == f"{HOST}{root}/submit/imagine"


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("host", IMAGE_HOSTS)
def test_the_path_rule(speed: str | None, host: str | None) -> None:
    """The path says `/mj`, `/mj-{speed}/mj`, `/mj-{speed}-{host}/mj` or `/mj-{host}/mj`."""
    route = ServerUrl.parse(HOST, speed, host)  # type: ignore[arg-type]
    mode = "-".join(filter(None, ("mj", speed, host)))
    assert route.root == (f"{HOST}/mj" if mode == "mj" else f"{HOST}/{mode}/mj")


@pytest.mark.parametrize(
    "speed, host, root",
    [
        ("fast", None, "/mj-fast-proxy/mj"),
        (None, "relay", "/mj-turbo-relay/mj"),
        ("relax", "origin", "/mj-relax-origin/mj"),
    ],
)
def test_arguments_overrule_the_url(speed: str | None, host: str | None, root: str) -> None:
    """What is given in so many words counts more than what stands in the URL."""
    route = ServerUrl.parse(f"{HOST}/mj-turbo-proxy/mj", speed, host)  # type: ignore[arg-type]
    assert route.root == HOST + root


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8080",
        "http://127.0.0.1:3000",
        "http://[::1]:8080",
        "https://api.example.com:8443",
        "https://xn--fiq228c.example",
    ],
)
def test_origins(origin: str) -> None:
    """Host and port stay as they are."""
    assert ServerUrl.parse(f"{origin}/mj").root == f"{origin}/mj"


@pytest.mark.parametrize(
    "pasted",
    [
        "api.example.com",
        "/mj",
        "ftp://api.example.com",
        "https://",
        "https:///mj",
        "http://[::1",
        "http://host:port",
        "http://api example.com",
        "   ",
        "sk-a-token-in-the-wrong-place",
    ],
)
def test_what_is_no_base_url(pasted: str) -> None:
    """What is no http(s) URL is refused, with an example of what is."""
    with pytest.raises(ConfigurationError, match=r"https://api\.example\.com"):
        ServerUrl.parse(pasted)


@pytest.mark.parametrize(
    "pasted",
    [
        "https://user:hunter2@api.example.com",
        "https://hunter2@api.example.com/mj",
        "https://:hunter2@api.example.com",
        "ftp://user:hunter2@api.example.com",
        "http://user:hunter2@[::1",
        "user:hunter2@api.example.com",
    ],
)
def test_logins_are_refused_and_not_repeated(pasted: str) -> None:
    """A password in the URL is refused, and stays out of the message."""
    with pytest.raises(ConfigurationError) as caught:
        ServerUrl.parse(pasted)
    assert "hunter2" not in str(caught.value)


def test_a_token_in_the_wrong_place_is_not_repeated() -> None:
    """Base URL and token swapped: the message does not show the token."""
    with pytest.raises(ConfigurationError) as caught:
        ServerUrl.parse(TOKEN)
    assert TOKEN not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"'api\.example\.com' is not a base URL"):
        ServerUrl.parse("api.example.com")


SEGMENTS = st.lists(
    st.text("abcdefgh-_.~0123456789", min_size=1, max_size=8).filter(lambda s: s.strip(".")),
    max_size=3,
)


@given(
    mount=SEGMENTS,
    speed=st.sampled_from(SPEEDS),
    host=st.sampled_from(IMAGE_HOSTS),
    tail=st.sampled_from(["", "/", "/submit/imagine", "/task/1/fetch", "/task/list-by-condition"]),
)
def test_round_trip(mount: list[str], speed: str | None, host: str | None, tail: str) -> None:
    """Pasting the URL of any call of a route gives that route again."""
    base = "/".join((HOST, *mount))
    route = ServerUrl.parse(base, speed, host)  # type: ignore[arg-type]
    assert route.base == base
    assert ServerUrl.parse(route.root + tail) == route


@given(st.text(max_size=40))
def test_any_text_is_a_route_or_refused(text: str) -> None:
    """Whatever is pasted, it is a route or a ConfigurationError."""
    for pasted in (text, f"{HOST}/{text}", f"http://{text}"):
        try:
            route = ServerUrl.parse(pasted)
        except ConfigurationError:
            continue
        assert route.endpoint("submit/imagine").scheme in {"http", "https"}


@given(st.text(min_size=1, max_size=20))
def test_task_ids_stay_one_segment(task_id: str) -> None:
    """An id of whatever characters is one segment of the path, and comes out as it went in."""
    raw = str(ServerUrl.parse(HOST).task_endpoint(task_id, "fetch"))
    assert raw.startswith(f"{HOST}/mj/task/")
    assert raw.endswith("/fetch")
    quoted = raw.removeprefix(f"{HOST}/mj/task/").removesuffix("/fetch")
    assert "/" not in quoted
    assert unquote(quoted) == task_id


async def test_the_path_on_the_wire() -> None:
    """What is sent is the path as made: nothing quotes it again or resolves it."""
    async with (
        answering(http(404)) as server,
        asking(f"{server.url}/a%20b", speed="turbo", image_host="relay") as mj,
    ):
        for task_id in ("a/b c", "任务"):
            with pytest.raises(Exception, match="does not have this operation"):
                await mj.task(task_id).refresh()
    assert server.paths == [
        "/a%20b/mj-turbo-relay/mj/task/a%2Fb%20c/fetch",
        "/a%20b/mj-turbo-relay/mj/task/%E4%BB%BB%E5%8A%A1/fetch",
    ]


@pytest.mark.parametrize(
    "pasted, base",
    [
        ("localhost:8080", "http://localhost:8080"),
        ("LOCALHOST/mj", "http://localhost"),
        ("127.0.0.1:8080/mj", "http://127.0.0.1:8080"),
        ("192.168.1.7", "http://192.168.1.7"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_server_of_this_network_needs_no_scheme(pasted: str, base: str) -> None:
    """It is what `docker run` prints, and speaks no TLS."""
    assert ServerUrl.parse(pasted).base == base


@pytest.mark.parametrize("pasted", ["api.example.com", "api.example.com:8443/mj"])
def test_what_to_write_for_a_host_without_a_scheme(pasted: str) -> None:
    """The message has the very text."""
    with pytest.raises(ConfigurationError, match=rf"write 'https://{pasted}'"):
        ServerUrl.parse(pasted)


@pytest.mark.parametrize("path", ["?key=hunter2", "/mj?subscription-key=hunter2", "/?hunter2"])
def test_a_query_is_refused_and_not_repeated(path: str) -> None:
    """It would be on no call; and it is a key, most of the time."""
    with pytest.raises(ConfigurationError, match=r"query.*headers=") as caught:
        ServerUrl.parse(HOST + path)
    assert "hunter2" not in str(caught.value)
