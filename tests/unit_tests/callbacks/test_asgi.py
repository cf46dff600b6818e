"""Whose call it is in a web app: streams, background tasks, websockets, threads, errors."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from guarding import recorded
from models import AsyncModel, AsyncStreamingModel, CountingModel, StreamingModel

from llmops_langchain import ConfigurationError, Event, LLMOps, Settings
from llmops_langchain.callbacks.asgi import TrackingMiddleware
from llmops_langchain.errors import DatabaseUnavailableError
from llmops_langchain.ledger import current_scope

pytest.importorskip("fastapi", reason="needs the package fastapi")

import httpx
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.testclient import TestClient


def whose(request: dict[str, Any]) -> dict[str, Any]:
    headers = {key.decode(): value.decode() for key, value in request["headers"]}
    return {"project": "web", "user": headers.get("x-user"), "tags": {"path": request["path"]}}


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings()) as made:
        yield made


def app_with(ops: LLMOps, scope: Any = whose) -> FastAPI:
    app = FastAPI()
    app.add_middleware(TrackingMiddleware, ops=ops, scope=scope)
    return app


@contextlib.asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


async def asked(ops: LLMOps, app: Any, path: str = "/") -> Event:
    """The one event of a request that ann makes."""
    async with client_of(app) as client:
        (await client.get(path, headers={"x-user": "ann"})).raise_for_status()
    (event,) = recorded(ops)
    return event


async def test_an_async_endpoint_has_the_requests_scope(ops) -> None:
    app = app_with(ops)

    @app.get("/")
    async def ask() -> str:
        return (await AsyncModel().ainvoke("q")).text

    event = await asked(ops, app)
    assert (event.project, event.user, event.tags) == ("web", "ann", {"path": "/"})


async def test_a_sync_endpoint_has_it_in_its_thread(ops) -> None:
    app = app_with(ops)

    @app.get("/")
    def ask() -> str:
        return CountingModel().invoke("q").text

    assert (await asked(ops, app)).user == "ann"


async def stream_async() -> AsyncIterator[str]:
    async for chunk in AsyncStreamingModel().astream("q"):
        yield chunk.text


def stream_sync() -> Iterator[str]:
    for chunk in StreamingModel().stream("q"):
        yield chunk.text


@pytest.mark.parametrize("body", [stream_async, stream_sync])
async def test_a_model_that_is_asked_while_the_body_is_sent_has_it(ops, body) -> None:
    app = app_with(ops)

    @app.get("/")
    async def ask() -> StreamingResponse:
        return StreamingResponse(body())

    event = await asked(ops, app)
    assert (event.user, event.output_tokens) == ("ann", 5)


@pytest.mark.parametrize("model", [CountingModel().invoke, AsyncModel().ainvoke])
async def test_background_tasks_have_it_after_the_answer(ops, model) -> None:
    app = app_with(ops)

    @app.get("/")
    async def ask(later: BackgroundTasks) -> str:
        later.add_task(model, "q")
        return "accepted"

    assert (await asked(ops, app)).user == "ann"


async def test_tasks_that_outlive_the_request_keep_it(ops) -> None:
    app, started = app_with(ops), []

    @app.get("/")
    async def ask() -> str:
        started.append(asyncio.create_task(AsyncModel().ainvoke("q")))
        return "accepted"

    async with client_of(app) as client:
        await client.get("/", headers={"x-user": "ann"})
    await asyncio.gather(*started)
    assert [event.user for event in recorded(ops)] == ["ann"]


@pytest.mark.parametrize("outermost", [True, False])
async def test_middleware_of_starlettes_base_class_may_stand_on_either_side(ops, outermost) -> None:
    async def passes(request: Request, call_next: Callable[..., Any]) -> Any:
        return await call_next(request)

    app = FastAPI()
    layers = [(BaseHTTPMiddleware, {"dispatch": passes})]
    layers.insert(0 if outermost else 1, (TrackingMiddleware, {"ops": ops, "scope": whose}))
    for layer, options in layers:
        app.add_middleware(layer, **options)

    @app.get("/")
    async def ask() -> StreamingResponse:
        return StreamingResponse(stream_async())

    assert (await asked(ops, app)).user == "ann"


async def test_a_dependency_that_yields_may_narrow_it(ops) -> None:
    app = app_with(ops)

    async def task() -> AsyncIterator[None]:
        with ops.track(task="import"):
            yield

    @app.get("/", dependencies=[Depends(task)])
    async def ask() -> StreamingResponse:
        return StreamingResponse(stream_async())

    event = await asked(ops, app)
    assert (event.user, event.task) == ("ann", "import")


def test_a_websocket_has_it_for_every_message(ops) -> None:
    app = app_with(ops)

    @app.websocket("/chat")
    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        async for question in socket.iter_text():
            await socket.send_text((await AsyncModel().ainvoke(question)).text)

    with (
        TestClient(app) as client,
        client.websocket_connect("/chat", headers={"x-user": "ann"}) as socket,
    ):
        for _ in range(2):
            socket.send_text("q")
            assert socket.receive_text() == "the answer"
    assert [event.user for event in recorded(ops)] == ["ann", "ann"]


async def test_requests_at_the_same_time_do_not_see_each_other(ops) -> None:
    app, met = app_with(ops), asyncio.Barrier(8)

    @app.get("/{name}")
    async def ask(name: str) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            await met.wait()
            async for chunk in AsyncStreamingModel().astream("q"):
                await met.wait()
                assert current_scope().user == name
                yield chunk.text

        return StreamingResponse(body())

    async with client_of(app) as client:
        users = [f"user{number}" for number in range(8)]
        await asyncio.gather(*(client.get(f"/{user}", headers={"x-user": user}) for user in users))
    found = recorded(ops)
    assert sorted(event.user for event in found) == users
    assert all(event.tags == {"path": f"/{event.user}"} for event in found)


async def test_a_request_leaves_nothing_behind(ops) -> None:
    async with client_of(app_with(ops)) as client:
        assert (await client.get("/nowhere")).status_code == 404
    await AsyncModel().ainvoke("q")
    assert current_scope().project is None
    assert recorded(ops) == []


async def test_the_function_may_wait(ops) -> None:
    async def slow(request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"user": request["headers"][0][0].decode()}

    app = app_with(ops, slow)

    @app.get("/")
    async def ask() -> str:
        return (await AsyncModel().ainvoke("q")).text

    assert (await asked(ops, app)).user == "host"


async def test_ids_may_be_numbers(ops) -> None:
    app = app_with(ops, {"user": 42, "task": None})

    @app.get("/")
    async def ask() -> dict[str, object]:
        return {"user": current_scope().user, "task": current_scope().task}

    async with client_of(app) as client:
        assert (await client.get("/")).json() == {"user": "42", "task": None}


@pytest.mark.parametrize("nobody", [None, lambda _: None, {}])
async def test_calls_for_nobody_are_recorded_all_the_same(ops, nobody) -> None:
    app = app_with(ops, nobody)

    @app.get("/")
    async def ask() -> str:
        return (await AsyncModel().ainvoke("q")).text

    assert (await asked(ops, app)).user is None


async def test_what_a_client_sends_names_nobody(ops) -> None:
    app = app_with(ops, {"workspace": "acme"})

    @app.post("/")
    async def ask(config: dict[str, Any]) -> str:
        return (await AsyncModel().ainvoke("q", config=config)).text

    async with client_of(app) as client:
        config = {"metadata": {"workspace": "rival"}}
        await client.post("/", json=config, headers={"x-workspace": "rival"})
    assert [event.workspace for event in recorded(ops)] == ["acme"]


async def test_a_request_whose_owner_cannot_be_told_is_not_served(ops) -> None:
    def unknown(_: object) -> dict[str, str]:
        raise LookupError(_)

    app, served = app_with(ops, unknown), []

    @app.get("/")
    async def ask() -> None:
        served.append(1)

    async with client_of(app) as client:
        with pytest.raises(LookupError):  # httpx hands it on; a server answers 500
            await client.get("/")
    assert served == []


async def test_a_function_that_names_something_else_is_told(ops) -> None:
    app = app_with(ops, lambda _: {"tenant": "acme"})
    async with client_of(app) as client:
        with pytest.raises(ConfigurationError, match="'tenant'"):
            await client.get("/")


def test_a_mapping_that_names_something_else_is_refused_at_once(ops) -> None:
    with pytest.raises(ConfigurationError, match="'tenant'"):
        TrackingMiddleware(FastAPI(), ops, {"tenant": "acme"})


async def test_switched_off_it_passes_through() -> None:
    with LLMOps("sqlite://", Settings(disabled=True)) as off:
        app = app_with(off)

        @app.get("/")
        async def ask() -> str:
            return (await AsyncModel().ainvoke("q")).text

        async with client_of(app) as client:
            assert (await client.get("/")).json() == "the answer"
        assert recorded(off) == []


class Flushed:
    """Notes when it is flushed, in between what the server is told."""

    def __init__(self, ops: LLMOps, error: Exception | None = None) -> None:
        self.track, self.heard, self._error = ops.track, [], error

    async def aflush(self) -> None:
        self.heard.append("flush")
        if self._error is not None:
            raise self._error


async def shut_down(app: Any, heard: list[str]) -> None:
    told = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(told)}

    async def send(message: dict[str, Any]) -> None:
        heard.append(message["type"])

    await app({"type": "lifespan", "state": {}}, receive, send)


@pytest.mark.parametrize("error", [None, DatabaseUnavailableError("away")])
async def test_it_flushes_before_the_server_may_go(ops, error) -> None:
    flushed = Flushed(ops, error)
    await shut_down(TrackingMiddleware(FastAPI(), flushed), flushed.heard)
    assert flushed.heard == ["lifespan.startup.complete", "flush", "lifespan.shutdown.complete"]


async def test_it_flushes_too_when_the_apps_own_shutdown_fails(ops) -> None:
    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        raise OSError

    flushed = Flushed(ops)
    with pytest.raises(OSError):  # noqa: PT011 - the app's own
        await shut_down(TrackingMiddleware(FastAPI(lifespan=life), flushed), flushed.heard)
    assert flushed.heard[1:] == ["flush", "lifespan.shutdown.failed"]


async def test_flushing_can_be_left_to_the_app(ops) -> None:
    flushed = Flushed(ops)
    await shut_down(TrackingMiddleware(FastAPI(), flushed, flush=False), flushed.heard)
    assert "flush" not in flushed.heard
