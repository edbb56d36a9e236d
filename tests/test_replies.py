"""What every reply means: the eleven shapes of PROTOCOL §7.1, asked in four ways."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mjasync import (
    AuthenticationError,
    BannedPrompt,
    Client,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    InvalidRequest,
    LinkExpired,
    MalformedReply,
    MJError,
    NoAccount,
    QueueFull,
    QuotaExhausted,
    RateLimited,
    RequestTimeout,
    Retries,
    ServerError,
    SubmitReceipt,
    SubmitUncertain,
    TaskNotFound,
    TaskNotReady,
    UnsupportedEndpoint,
)
from mjasync._http.transport import SecretHeader, auth_headers
from mjasync._protocol import error_rules, parsing, replies
from mjasync._protocol.parsing import Operation
from support.pictures import extension_of
from support.scripted_server import CALLS, TOKEN, answering, as_bytes, asking, http

RETRYABLE = {
    ConnectionFailed,
    MalformedReply,
    NoAccount,
    QueueFull,
    RateLimited,
    RequestTimeout,
    ServerError,
    TaskNotReady,
}
PAGE = (
    "<!DOCTYPE html>\n<html><head><title>New API</title></head>"
    '<body><div id="root"></div></body></html>'
)
CHALLENGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
NO_PROVIDER = "无法获取provider"
PLAIN_HTTP = "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>"
EXPIRED = "Wed, 21 Oct 2015 07:28:00 GMT"


@attrs.frozen
class Case:
    """A reply, and the error it is for each of the four questions."""

    name: str
    status: int
    body: object
    submit: type[MJError]
    fetch: type[MJError]
    list: type[MJError]
    image: type[MJError]
    headers: Mapping[str, str] = {}


def same(name: str, status: int, body: object, error: type[MJError]) -> Case:
    """Make a case that means the same to every question."""
    return Case(name, status, body, error, error, error, error)


def read(name: str, status: int, body: object, error: type[MJError]) -> Case:
    """Make a case that leaves a submission uncertain, and means the same to every read."""
    return Case(name, status, body, SubmitUncertain, error, error, error)


def gone(name: str, status: int, body: object, error: type[MJError]) -> Case:
    """Make a case that means an expired link to a picture, and else the same."""
    return Case(name, status, body, error, error, error, LinkExpired)


def said(
    code: object, description: str = "", result: object = None, **properties: object
) -> dict[str, Any]:
    """Make a SubmitResult."""
    return {"code": code, "description": description, "result": result, "properties": properties}


def logic(message: str) -> dict[str, Any]:
    """Make shape C."""
    return {"success": False, "code": -1, "message": message, "timestamp": "638000000000000000"}


def gateway(words: str, code: int = 4, kind: str = "upstream_error") -> dict[str, Any]:
    """Make shape D, with the gateways' trailing space."""
    return {"description": f"{words} ", "type": kind, "code": code}


def nested(message: str, **more: object) -> dict[str, Any]:
    """Make shape E."""
    return {"error": {"message": message, "type": "new_api_error", **more}}


def spring(status: int, error: str) -> dict[str, Any]:
    """Make shape H."""
    return {
        "timestamp": "2025-05-23T11:54:15.000+00:00",
        "status": status,
        "error": error,
        "path": "/mj/submit/imagine",
    }


CASES = (
    # A: a SubmitResult that refuses, in an HTTP 200
    same("A-4", 200, said(4, "prompt不能为空"), InvalidRequest),
    same("A-4-unknown-action", 200, said(4, "未知的 Action 类型"), UnsupportedEndpoint),
    same("A-3-account", 200, said(3, "无可用的账号实例"), NoAccount),
    same("A-3-account-named", 200, said(3, "账号不可用: 123"), NoAccount),
    same("A-3-parent", 200, said(3, "关联任务不存在或已失效"), TaskNotFound),
    Case("A-3-mute", 200, said(3), NoAccount, TaskNotFound, TaskNotFound, TaskNotFound),
    same("A-9", 200, said(9, "上传失败"), ServerError),
    same("A-9-queue", 200, said(9, "提交失败，队列已满，请稍后重试"), QueueFull),
    same("A-9-disabled", 200, said(9, "视频功能未启用"), UnsupportedEndpoint),
    same("A-23", 200, said(23, "队列已满，请稍后尝试", discordInstanceId="1"), QueueFull),
    same("A-23-with-id", 200, said(23, "", "1700000000000001"), QueueFull),
    same("A-24", 200, said(24, "可能包含敏感词", bannedWord="w", promptEn="p"), BannedPrompt),
    same("A-24-other-words", 200, said(24, "forbidden word: quota"), BannedPrompt),
    same("A-30", 200, said(30, "当前分组上游负载已饱和"), RateLimited),
    read("A-5", 200, said(5, "do_request_failed", ""), ServerError),
    read("A-unknown", 200, said(77, "?"), ServerError),
    read("A-zero", 200, said(0, "success"), ServerError),
    read("A-unknown-with-id", 200, said(77, "", "1700000000000001"), ServerError),
    same("A-unknown-known-words", 200, said(-2, "用户余额不足"), QuotaExhausted),
    read("A-1-without-id", 200, said(1, "提交成功"), MalformedReply),
    read("A-1-zero-id", 200, said(1, "提交成功", "0"), MalformedReply),
    read("A-22-empty-id", 200, said(22, "排队中", ""), MalformedReply),
    read("A-21-empty-list", 200, said(21, "窗口等待", []), MalformedReply),
    # B: a SubmitResult with an HTTP status of its own
    gone("B-404-3", 404, said(3, "关联任务不存在或已失效"), TaskNotFound),
    gone("B-404-3-mute", 404, said(3), TaskNotFound),
    same("B-400-4", 400, said(4, "关联任务状态错误"), TaskNotReady),
    # C: success:false
    same("C-concurrency", 200, logic("并发数已达上限"), QueueFull),
    same("C-queue", 200, logic("队列数已达上限"), QueueFull),
    same("C-day", 200, logic("用户今日绘图次数已达上限"), QuotaExhausted),
    same("C-total", 200, logic("总绘图次数已达上限"), QuotaExhausted),
    same("C-locked", 200, logic("账号已被临时封锁，请勿使用违规词作图"), AuthenticationError),
    same("C-down", 200, logic("服务暂不可用"), ServerError),
    Case(
        "C-state", 200, logic("state 太长"), InvalidRequest, ServerError, ServerError, ServerError
    ),
    read("C-500", 500, logic("操作失败"), ServerError),
    # D: the gateways' own
    same("D-400", 400, gateway("prompt_is_required"), InvalidRequest),
    same("D-task", 400, gateway("task_no_found"), TaskNotFound),
    same("D-early", 400, gateway("task_status_not_success"), TaskNotReady),
    same("D-mode", 400, gateway("无效的加速模式", kind="one_hub_error"), InvalidRequest),
    same("D-action", 400, gateway("unknown_action:MJ::BOOKMARK::1"), UnsupportedEndpoint),
    same("D-relay", 400, gateway("unknown_relay_action"), UnsupportedEndpoint),
    same("D-429", 429, gateway("当前分组上游负载已饱和", 30), RateLimited),
    same("D-4-channel", 400, gateway("该任务所属渠道已被禁用"), NoAccount),
    same("D-5-none", 400, gateway(f"{NO_PROVIDER}:当前分组 default 下 无可用渠道", 5), NoAccount),
    same("D-5-off", 400, gateway(f"{NO_PROVIDER}:该渠道已被禁用", 5), NoAccount),
    same("D-5-id", 400, gateway(f"{NO_PROVIDER}:无效的渠道 Id", 5), NoAccount),
    same("D-5-unsent", 400, gateway("create_request_failed", 5), ServerError),
    read("D-5", 400, gateway("do_request_failed", 5), ServerError),
    Case(
        "D-4-lost",
        400,
        gateway("unmarshal_response_body_failed"),
        SubmitUncertain,
        InvalidRequest,
        InvalidRequest,
        InvalidRequest,
    ),
    # E: an error object
    same("E-400", 400, nested("Invalid request, unknown_action:x"), UnsupportedEndpoint),
    same("E-401", 401, nested("无效的令牌 (request id: 1)"), AuthenticationError),
    gone("E-403", 403, nested("您的 IP 不在令牌允许访问的列表中"), AuthenticationError),
    gone("E-403-quota", 403, nested("用户额度不足", code="quota"), QuotaExhausted),
    same("E-429", 429, nested("请求过于频繁"), RateLimited),
    same("E-429-quota", 429, nested("insufficient balance"), QuotaExhausted),
    read("E-500", 500, nested("panic"), ServerError),
    read("E-500-quota", 500, nested("quota exhausted"), QuotaExhausted),
    same("E-503", 503, nested("当前分组 default 下对于模型 mj_ 无可用渠道"), NoAccount),
    gone("E-404", 404, nested("Invalid URL (POST /v1/mj)"), UnsupportedEndpoint),
    read("E-200", 200, nested("?"), ServerError),
    same("E-200-known", 200, nested("queue is full"), QueueFull),
    same("E-401-money", 401, nested("该令牌额度已用尽 TokenStatus[...]"), QuotaExhausted),
    same("E-401-money-short", 401, nested("令牌额度已用尽"), QuotaExhausted),
    same("E-503-english", 503, nested("No available channel for model mj_imagine"), NoAccount),
    same("E-503-one-api", 503, nested("There are no channels available for model x"), NoAccount),
    gone("E-403-channel", 403, nested("该渠道已被禁用"), NoAccount),
    same("E-400-channel", 400, nested("无效的渠道 Id"), NoAccount),
    same("E-503-overload", 503, nested("system cpu overloaded (91%)"), RateLimited),
    read("E-400-upstream", 400, nested("?", type="upstream_error"), InvalidRequest),
    # F: an error string
    same("F-400", 400, {"error": "midjourney_task_not_found"}, TaskNotFound),
    read("F-500", 500, {"error": "http_get_image_failed"}, ServerError),
    read("F-503", 503, {"error": "unavailable", "message": "no", "retryAfter": 30}, ServerError),
    gone("F-404", 404, {"error": "Not Found", "message": "no route"}, UnsupportedEndpoint),
    # G: a panic
    read(
        "G",
        500,
        {"error": {"description": "x", "type": "one_hub_panic", "code": 500}},
        ServerError,
    ),
    # H: Spring's
    same("H-400", 400, spring(400, "Bad Request"), InvalidRequest),
    read("H-500", 500, spring(500, "Internal Server Error"), ServerError),
    gone("H-404", 404, spring(404, "Not Found"), UnsupportedEndpoint),
    same("H-405", 405, spring(405, "Method Not Allowed"), UnsupportedEndpoint),
    # I: plain text
    same("I-400", 400, "演示模式，禁止操作", InvalidRequest),
    same("I-401", 401, "Authorization header missing.", AuthenticationError),
    gone("I-403", 403, "账号不可用", AuthenticationError),
    read("I-200", 200, "提交成功", MalformedReply),
    read("I-502", 502, "Bad Gateway", ServerError),
    read("I-408", 408, "Request Timeout", ServerError),
    same("I-402", 402, "Payment Required", QuotaExhausted),
    same("I-413", 413, "Payload Too Large", InvalidRequest),
    read("I-418", 418, "I'm a teapot", InvalidRequest),
    same("I-501", 501, "Not Implemented", UnsupportedEndpoint),
    read("I-503", 503, "Service Unavailable", ServerError),
    # J, an empty body
    Case("J-200", 200, b"", SubmitUncertain, TaskNotFound, MalformedReply, MalformedReply),
    Case("J-200-blank", 200, b" \n", SubmitUncertain, TaskNotFound, MalformedReply, MalformedReply),
    Case("J-204", 204, b"", SubmitUncertain, TaskNotFound, MalformedReply, MalformedReply),
    read("J-400", 400, b"", InvalidRequest),
    same("J-401", 401, b"", AuthenticationError),
    Case("J-403", 403, b"", SubmitUncertain, RateLimited, RateLimited, LinkExpired),
    gone("J-404", 404, b"", UnsupportedEndpoint),
    same("J-429", 429, b"", RateLimited),
    read("J-500", 500, b"", ServerError),
    read("J-503", 503, b"", ServerError),
    read("J-504", 504, b"", ServerError),
    # K: a front page where the endpoint should be
    Case(
        "K-200",
        200,
        PAGE,
        UnsupportedEndpoint,
        UnsupportedEndpoint,
        UnsupportedEndpoint,
        MalformedReply,
    ),
    Case(
        "K-200-bom",
        200,
        b"\xef\xbb\xbf" + PAGE.encode(),
        UnsupportedEndpoint,
        UnsupportedEndpoint,
        UnsupportedEndpoint,
        MalformedReply,
    ),
    read("K-301", 301, "<html><body>Moved</body></html>", UnsupportedEndpoint),
    read("K-302-empty", 302, b"", UnsupportedEndpoint),
    Case(
        "K-200-stranger",
        200,
        CHALLENGE,
        SubmitUncertain,
        UnsupportedEndpoint,
        UnsupportedEndpoint,
        MalformedReply,
    ),
    read("K-400", 400, CHALLENGE, InvalidRequest),
    same("K-400-https", 400, PLAIN_HTTP, InvalidRequest),
    Case("K-401", 401, PAGE, AuthenticationError, ServerError, ServerError, ServerError),
    gone("K-404", 404, PAGE, UnsupportedEndpoint),
    Case("K-403", 403, PAGE, SubmitUncertain, ServerError, ServerError, LinkExpired),
    read("K-502", 502, PAGE, ServerError),
    read("K-503", 503, PAGE, ServerError),
    same("K-429", 429, PAGE, RateLimited),
    # FastAPI's own
    same("detail-422", 422, {"detail": [{"loc": ["body"], "msg": "missing"}]}, InvalidRequest),
    same("detail-400", 400, {"detail": "bad prompt"}, InvalidRequest),
    gone("detail-403", 403, {"detail": "Not authenticated"}, AuthenticationError),
    read("detail-200", 200, {"detail": "?"}, MalformedReply),
    # RFC 9457, as front ends send it
    read("problem-400", 400, {"title": "Bad Request", "detail": "lost it"}, InvalidRequest),
    read("problem-422", 422, {"type": "about:blank", "detail": "lost it"}, InvalidRequest),
    # not the server's own words, whatever they are
    read("409", 409, "Conflict", InvalidRequest),
    read("409-json", 409, {"error": "conflict"}, InvalidRequest),
    Case(
        "410", 410, {"message": "?"}, SubmitUncertain, InvalidRequest, InvalidRequest, LinkExpired
    ),
    read("425", 425, b"", ServerError),
    read("460", 460, b"", ServerError),
    read("499", 499, PAGE, ServerError),
    read("101", 101, b"", MalformedReply),
    Case(
        "403-json",
        403,
        {"message": "Forbidden"},
        SubmitUncertain,
        AuthenticationError,
        AuthenticationError,
        LinkExpired,
    ),
    read("503-json", 503, {"message": "Service Unavailable"}, ServerError),
    read("400-timeout", 400, {"error": "context deadline exceeded"}, InvalidRequest),
    # none of them: JSON, but not what was asked for
    read("cut-json", 200, b'{"code":1,"description":"\xe6\x8f\x90', MalformedReply),
    read("an-object", 200, {}, MalformedReply),
    read("a-number", 200, 1, MalformedReply),
    read("a-text", 200, b'"1700000000000001"', MalformedReply),
    read("no-error", 200, {"error": None, "data": {}}, MalformedReply),
)
QUESTIONS = tuple(CALLS)


def answer_to(question: str, status: int, headers: Mapping[str, str], body: bytes) -> object:
    """Ask the pure functions."""
    if question == "image":
        replies.check_image(status, headers, body)
        return extension_of(body)
    words = parsing.parse_reply(status, headers, body)
    if question == "submit":
        return replies.parse_receipt(Operation.SUBMIT, words)
    if question == "fetch":
        return replies.parse_object(Operation.FETCH, words)
    return replies.parse_list(words)


def links(error: BaseException | None) -> Iterator[BaseException]:
    """Go through an error and all behind it, what is hidden by `from None` too."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def everything_told(error: MJError, log: str) -> str:
    """Collect what an error, its traceback with all locals, its pickle and the log show."""
    frames = (
        line
        for link in links(error)
        for line in traceback.TracebackException.from_exception(link, capture_locals=True).format()
    )
    pickled = pickle.dumps(error).decode("latin-1")
    return "\n".join((str(error), repr(error), pickled, *frames, log))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that is logged, down to the last detail."""
    for name in ("mjasync", "aiohttp", "asyncio", "backoff"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_shape_is_one_error(case: Case, question: str) -> None:
    """Each shape, asked each question, is one error class with one answer to "again?"."""
    expected = getattr(case, question)
    with pytest.raises(MJError) as caught:
        answer_to(question, case.status, case.headers, as_bytes(case.body))
    assert type(caught.value) is expected
    assert caught.value.retryable is (expected in RETRYABLE)
    if question != "image" or expected is not MalformedReply:
        assert caught.value.http_status == case.status


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_each_shape_over_http(case: Case, log: pytest.LogCaptureFixture) -> None:
    """A Client raises the same errors, and nothing it raises or logs shows its token."""
    async with (
        answering(http(case.status, case.body)) as server,
        asking(server.url) as mj,
    ):
        for question, ask in CALLS.items():
            with pytest.raises(MJError) as caught:
                await ask(mj, server.url)
            expected = getattr(case, question)
            assert type(caught.value) is expected, question
            assert caught.value.retryable is (expected in RETRYABLE), question
            assert TOKEN not in everything_told(caught.value, log.text), question
    assert len(server.asked) == len(CALLS)
    assert TOKEN.encode() in server.asked[0]
    assert TOKEN.encode() not in server.asked[-1]  # a picture may be anywhere


@pytest.mark.parametrize("auth", ["secret", "bearer"])
@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_token_repeated_by_the_server(
    status: int, auth: object, log: pytest.LogCaptureFixture
) -> None:
    """A server that repeats the refused token does not get it into an error or the log."""
    async with (
        answering(http(status, nested(f"Invalid token: Bearer {TOKEN}"))) as server,
        asking(server.url, auth=auth) as mj,
    ):
        for question in ("submit", "fetch", "list"):
            with pytest.raises(MJError) as caught:
                await CALLS[question](mj, server.url)
            assert "Invalid token" in str(caught.value)
            assert TOKEN not in everything_told(caught.value, log.text)


# --- what breaks on the way --------------------------------------------------------------------

BROKEN = {
    "truncated": http(200, b"\x89PNG\r\n\x1a\n..................IEND")[:-5],
    "reset": None,
    "closed": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "bad gzip": http(200, b"not gzip at all", {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_broken_answers(answer: bytes | None, log: pytest.LogCaptureFixture) -> None:
    """A broken answer leaves a submission uncertain, sent once; a read may be repeated."""
    async with answering(answer) as server, asking(server.url) as mj:
        for question, ask in CALLS.items():
            before = len(server.asked)
            with pytest.raises(MJError) as caught:
                await ask(mj, server.url)
            expected = SubmitUncertain if question == "submit" else ConnectionFailed
            assert type(caught.value) is expected, question
            assert TOKEN not in everything_told(caught.value, log.text), question
            if question == "submit":
                assert len(server.asked) == before + 1


async def test_truncated_acceptance() -> None:
    """An acceptance that breaks off is none, though enough of it can be read."""
    answer = http(200, said(1, "提交成功", "1700000000000001"))
    async with answering(answer[:-1]) as server, asking(server.url) as mj:
        with pytest.raises(SubmitUncertain, match="may have accepted"):
            await mj.imagine("a fox").submit()
    assert len(server.asked) == 1


async def test_no_answer_in_time(log: pytest.LogCaptureFixture) -> None:
    """Silence leaves a submission uncertain; a read has timed out."""
    async with (
        answering(b"", hang=True) as server,
        asking(server.url, read_timeout=0.01, submit_timeout=0.01) as mj,
    ):
        for question, ask in CALLS.items():
            with pytest.raises(MJError) as caught:
                await ask(mj, server.url)
            expected = SubmitUncertain if question == "submit" else RequestTimeout
            assert type(caught.value) is expected, question
            assert TOKEN not in everything_told(caught.value, log.text), question


async def test_nobody_listens(log: pytest.LogCaptureFixture) -> None:
    """Without a connection the server has seen nothing: even a submission may be repeated."""
    async with answering(b"") as server:
        pass
    async with asking(server.url) as mj:
        for question, ask in CALLS.items():
            with pytest.raises(ConnectionFailed) as caught:
                await ask(mj, server.url)
            assert caught.value.retryable
            assert server.url in str(caught.value), question
            assert TOKEN not in everything_told(caught.value, log.text), question


async def test_proxy_that_refuses(log: pytest.LogCaptureFixture) -> None:
    """A proxy that lets nobody through is no connection either."""
    async with (
        answering(http(407, "who are you?")) as proxy,
        aiohttp.ClientSession(proxy=proxy.url) as session,
        asking("https://api.example.com", session=session) as mj,
    ):
        for question in ("submit", "fetch"):
            with pytest.raises(ConnectionFailed, match="HTTP 407") as caught:
                await CALLS[question](mj, "")
            assert TOKEN not in everything_told(caught.value, log.text)


async def test_uncertain_carries_what_was_sent() -> None:
    """A SubmitUncertain has the payload and the state, to look for the job with."""
    async with answering(http(502, PAGE)) as server, asking(server.url) as mj:
        with pytest.raises(SubmitUncertain) as caught:
            await mj.imagine("a fox", state="mine").submit()
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (error.endpoint, error.state) == ("imagine", "mine")
    assert error.payload["prompt"] == "a fox"
    assert error.description == "(a web page) New API"


async def test_redirects_take_no_token_along() -> None:
    """A redirect of an API call is not followed: it might lead to another origin."""
    async with answering(http(200, {})) as elsewhere:
        moved = http(308, b"", {"Location": f"{elsewhere.url}/mj/submit/imagine"})
        async with answering(moved) as server, asking(server.url) as mj:
            for question in ("submit", "fetch", "list"):
                with pytest.raises(UnsupportedEndpoint, match=elsewhere.url):  # it says where to
                    await CALLS[question](mj, server.url)
    assert elsewhere.asked == []


# --- never pay twice ---------------------------------------------------------------------------

ACCEPTANCE = said(1, "提交成功", "1700000000000001")


def receipt_of(status: int, body: object, operation: Operation = Operation.SUBMIT) -> SubmitReceipt:
    """Read the answer to a submission."""
    return replies.parse_receipt(operation, parsing.parse_reply(status, {}, as_bytes(body)))


@pytest.mark.parametrize("status", [500, 502, 504, 507, 520, 524])
@pytest.mark.parametrize("body", [ACCEPTANCE, said(23, "队列已满"), PAGE, b"", "text", nested("x")])
def test_proxy_errors_are_uncertain_whatever_they_say(status: int, body: object) -> None:
    """A 5xx of a proxy does not tell what the server behind it did, whatever its body says."""
    with pytest.raises(SubmitUncertain):
        receipt_of(status, body)


@pytest.mark.parametrize("status", [200, 201, 202, 400, 429, 503])
def test_acceptance_is_an_acceptance(status: int) -> None:
    """A reply that names the job was taken, 429 and 503 included."""
    assert receipt_of(status, ACCEPTANCE).ids == ("1700000000000001",)


@pytest.mark.parametrize("status", [400, 404, 429, 501, 503])
@pytest.mark.parametrize("code", [1, 21, 22, "1"])
def test_acceptance_without_an_id_is_uncertain(status: int, code: object) -> None:
    """A reply that accepts but names no job is never tried again, at no status."""
    with pytest.raises(SubmitUncertain):
        receipt_of(status, said(code, "提交成功"))


@pytest.mark.parametrize("status", [200, 400, 429, 503])
def test_unknown_code_with_a_job_is_uncertain(status: int) -> None:
    """A code that nobody knows, with the id of a job, is never tried again."""
    with pytest.raises(SubmitUncertain):
        receipt_of(status, said(2, "ok", "1700000000000001"))


@pytest.mark.parametrize(
    "words", ["do_request_failed", "unmarshal_response_body_failed", "read_response_body_failed"]
)
@pytest.mark.parametrize("status", [200, 400, 429, 503])
def test_gateway_that_lost_the_answer(words: str, status: int) -> None:
    """A gateway that sent the job on and could not read the answer knows no better than we do."""
    for code in (4, 5):
        with pytest.raises(SubmitUncertain):
            receipt_of(status, gateway(words, code))


@pytest.mark.parametrize(
    "result, ids",
    [
        ("1700000000000001", ("1700000000000001",)),
        (1700000000000001, ("1700000000000001",)),
        ("1700000000000001,1700000000000002", ("1700000000000001", "1700000000000002")),
        ("1, 2,,3 ", ("1", "2", "3")),
        (["1", 2, None, ""], ("1", "2")),
    ],
)
@pytest.mark.parametrize("code", [1, 21, 22, "22"])
def test_receipts(code: object, result: object, ids: tuple[str, ...]) -> None:
    """Ids come as text, number, list, or joined by commas; codes as numbers or text."""
    receipt = receipt_of(200, {"code": code, "description": "ok", "result": result})
    assert receipt.ids == ids
    assert receipt.code == int(code)
    assert receipt.properties == {}


@pytest.mark.parametrize(
    "body, is_modal",
    [
        (said(21, "窗口等待", "1"), True),
        (said(21, "Waiting for window confirm", "1", finalPrompt="", remix=True), True),
        (said(21, "任务已存在", "1", status="SUCCESS", imageUrl="https://x"), False),
        (said(1, "Waiting for window confirm", "1"), True),
        (said(1, "窗口等待", "1"), True),
        (said(1, "提交成功", "1", remix=True), True),
        (said(1, "提交成功", "1", remix=False), False),
        (said(22, "排队中", "1", numberOfQueues=2), False),
    ],
)
def test_what_opens_a_modal(body: object, is_modal: bool) -> None:
    """A modal is a 21 that is no existing task, `remix`, or the words of PROTOCOL §4.4."""
    assert receipt_of(200, body, Operation.FOLLOW_UP).is_modal is is_modal


@pytest.mark.parametrize("properties", [None, [], "", {}])
def test_properties_of_nothing(properties: object) -> None:
    """Properties that are no object read as none."""
    body = {"code": 1, "result": "1", "properties": properties}
    assert receipt_of(200, body).properties == {}


def test_a_parent_the_server_does_not_know() -> None:
    """Code 3 speaks of the account to a new job, and of the parent to a follow-up."""
    for operation, expected in (
        (Operation.SUBMIT, NoAccount),
        (Operation.FOLLOW_UP, TaskNotFound),
    ):
        with pytest.raises(expected):
            receipt_of(200, said(3), operation)
    with pytest.raises(TaskNotFound):
        receipt_of(200, said(3, "task is unknown"))


def test_banned_word_is_told() -> None:
    """A banned prompt names the word and the English prompt it was found in."""
    with pytest.raises(BannedPrompt) as caught:
        receipt_of(200, said(24, "可能包含敏感词", bannedWord="blood", promptEn="a blood moon"))
    assert (caught.value.word, caught.value.prompt_en) == ("blood", "a blood moon")
    with pytest.raises(BannedPrompt) as caught:
        receipt_of(200, {"code": 24, "description": "banned", "properties": None})
    assert (caught.value.word, caught.value.prompt_en) == ("", "")


# --- the other answers -------------------------------------------------------------------------


def test_good_answers() -> None:
    """What is asked for is returned as it came."""
    task = {"id": "1", "status": "SUCCESS"}
    ok = parsing.parse_reply(200, {}, orjson.dumps(task))
    assert replies.parse_object(Operation.FETCH, ok) == task
    seed = parsing.parse_reply(200, {}, orjson.dumps(said(1, "成功", "636646138")))
    assert replies.parse_object(Operation.OTHER, seed)["result"] == "636646138"
    many = parsing.parse_reply(200, {}, orjson.dumps([task, None, 1]))
    assert replies.parse_list(many) == [task]
    assert replies.parse_list(parsing.parse_reply(200, {}, b"null")) == []


def test_a_json_null_is_no_task() -> None:
    """A null is how one server says that it does not know a task."""
    with pytest.raises(TaskNotFound):
        replies.parse_object(Operation.FETCH, parsing.parse_reply(200, {}, b"null"))


def test_a_task_needs_an_id_and_a_status() -> None:
    """An object that is no task is a malformed reply."""
    for body in ({"id": "1"}, {"id": None, "status": ""}, {"status": "SUCCESS"}):
        with pytest.raises(MalformedReply):
            replies.parse_object(Operation.FETCH, parsing.parse_reply(200, {}, orjson.dumps(body)))


def test_a_seed_nobody_found() -> None:
    """A refused seed is refused as such: the task is known all the same."""
    words = parsing.parse_reply(200, {}, orjson.dumps(said(3, "未找到 seed")))
    with pytest.raises(UnsupportedEndpoint):
        replies.parse_object(Operation.OTHER, words)


def test_pictures_pass() -> None:
    """Bytes that are no text are let through, at any good status."""
    for status in (200, 206):
        replies.check_image(status, {}, b"\x89PNG\r\n\x1a\n")
    with pytest.raises(LinkExpired):
        replies.check_image(410, {}, b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("999999", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 09:28:10 +0200", 10.0),
        ("Wed, 21 Oct 2015 07:28:10 -0000", 10.0),
        ("Wed, 21 Oct 2099 07:28:10 GMT", 3600.0),
        ("Wed, 21 Oct 99999 07:28:10 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Retry-After is read as seconds or as a date, and capped at an hour."""
    now = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT
    assert parsing.parse_retry_after(value, now) == seconds
    headers = {} if value is None else {"Retry-After": value}
    assert parsing.parse_reply(429, headers, b"", wall=now).retry_after == seconds


@pytest.mark.parametrize("waits", [30, 30.0, "30", True, None])
def test_retry_after_in_the_body(waits: object) -> None:
    """One proxy says in its JSON how long to wait; the header counts more."""
    body = orjson.dumps({"error": "unavailable", "retryAfter": waits})
    expected = 30.0 if waits == 30 and waits is not True else None
    assert parsing.parse_reply(503, {}, body).retry_after == expected
    assert parsing.parse_reply(503, {"Retry-After": "2"}, body).retry_after == 2.0


async def test_retry_after_over_http() -> None:
    """The error of a Client says how long the server wants it to wait."""
    async with (
        answering(http(429, b"", {"Retry-After": "17"})) as server,
        asking(server.url) as mj,
    ):
        for ask in CALLS.values():
            with pytest.raises(RateLimited) as caught:
                await ask(mj, server.url)
            assert caught.value.retry_after == 17.0


@pytest.mark.parametrize(
    "body, words",
    [
        (gateway("task_no_found"), "task_no_found"),
        ({"error": "a", "message": " b "}, "a: b"),
        ({"error": "same", "message": "same"}, "same"),
        ({"error": {"message": "in"}, "message": "out"}, "in"),
        ({"error": " ", "message": "b"}, "b"),
        (said(4, None), ""),  # type: ignore[arg-type]
        ("账号已禁用\n", "账号已禁用"),
        (b"\xff\xfe", "��"),
        ("x" * 1000, "x" * 500),
        (PAGE, "(a web page) New API"),
        ("<html>no title", "(a web page)"),
        ("<?xml version='1.0'?><Error/>", "(a web page)"),
        (["a", "list"], ""),
    ],
)
def test_the_servers_own_words(body: object, words: str) -> None:
    """Whatever the shape, the server's own words are found, without the blanks around them."""
    assert parsing.parse_reply(400, {}, as_bytes(body)).description == words


def test_ban_in_a_fail_reason() -> None:
    """A reason that speaks of a banned word is told from others."""
    assert error_rules.is_ban_text("可能包含敏感词")
    assert error_rules.is_ban_text("Banned prompt detected")
    assert not error_rules.is_ban_text("执行超时 5 分钟")
    assert not error_rules.is_ban_text("")


# --- for anything at all -----------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
JSON = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)
WORDS = st.sampled_from(
    ["code", "description", "result", "properties", "error", "success", "message", "retryAfter"]
)
REPLIES = st.dictionaries(WORDS, JSON | st.sampled_from([1, 3, 5, 21, 22, 23, 24, -1, "队列已满"]))
BODIES = st.binary(max_size=40) | JSON.map(orjson.dumps) | REPLIES.map(orjson.dumps)


@given(
    question=st.sampled_from(QUESTIONS),
    status=st.integers(200, 599),
    after=st.none() | st.text(max_size=30),
    body=BODIES,
)
def test_anything_is_an_answer_or_an_error(
    question: str, status: int, after: str | None, body: bytes
) -> None:
    """Whatever comes back, it is what was asked for or an MJError, with words to show."""
    headers = {} if after is None else {"Retry-After": after}
    try:
        answer_to(question, status, headers, body)
    except MJError as error:
        assert str(error)  # noqa: PT017 - not every reply is an error
        assert 0.0 <= (error.retry_after or 0.0) <= 3600.0  # noqa: PT017


@given(status=st.integers(200, 599), body=REPLIES, code=st.sampled_from([1, 21, 22]))
def test_an_acceptance_is_never_a_refusal(status: int, body: dict[str, Any], code: int) -> None:
    """A body that accepts is a receipt or uncertain at every status: it is never sent again."""
    try:
        receipt = receipt_of(status, {**body, "code": code})
    except SubmitUncertain:
        return
    assert receipt.ids


@given(status=st.integers(200, 299), body=BODIES)
def test_a_refusal_of_a_submission_is_plain(status: int, body: bytes) -> None:
    """A 2xx refuses a submission only as a page, or as an object that says so."""
    try:
        receipt_of(status, body)
    except SubmitUncertain:
        return
    except MJError:
        words = parsing.parse_reply(status, {}, body)
        assert words.is_html or isinstance(words.json, dict)
        assert words.code not in {1, 5, 21, 22}


# --- the token ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "auth, header, value",
    [("secret", "mj-api-secret", "abc"), ("bearer", "Authorization", "Bearer abc")],
)
def test_one_header_carries_the_token(auth: object, header: str, value: str) -> None:
    """Exactly one header carries it, hidden from repr, without the newline of the file it is in."""
    for token in ("abc", " abc\n"):
        headers = auth_headers(token, auth)
        assert headers == {header: value}
        assert "abc" not in repr(headers)


@pytest.mark.parametrize("token", [None, "", "  \n"])
def test_no_token_no_header(token: str | None) -> None:
    """An open server gets no empty header: it once locked users out."""
    assert auth_headers(token, "secret") == {}


async def test_a_short_token_is_no_secret() -> None:
    """A token as short as a word is not blotted out of what a server says."""
    async with (
        answering(http(401, "no such token: none")) as server,
        Client(server.url, "none", retries=Retries.none()) as mj,
    ):
        with pytest.raises(AuthenticationError, match="no such token: none"):
            await mj.task("1").refresh()


async def test_no_use_after_closing() -> None:
    """A closed client sends nothing, and says so."""
    async with answering(http(200, [])) as server:
        async with asking(server.url) as mj:
            await CALLS["list"](mj, server.url)
        for question in ("list", "image", "fetch"):
            with pytest.raises(ClientClosed, match="Open a new Client"):
                await CALLS[question](mj, server.url)
    assert len(server.asked) == 1


def test_token_that_no_header_can_carry() -> None:
    """A token with a line break inside is refused at once, and not shown."""
    with pytest.raises(ConfigurationError) as caught:
        auth_headers(SecretHeader(f"{TOKEN}\r\nX-Other: 1"), "secret")
    assert TOKEN not in everything_told(caught.value, "")
