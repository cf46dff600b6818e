"""A real server on loopback: whose calls they are when readers stay, leave and come together."""

import asyncio
import queue
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from models import AsyncStreamingModel
from sqlalchemy import select

from llmops_langchain import Database, Event, LLMOps, Settings
from llmops_langchain.callbacks.asgi import TrackingMiddleware
from llmops_langchain.ledger.event import from_row
from llmops_langchain.storage.schema import events

pytest.importorskip("fastapi", reason="needs the package fastapi")
pytest.importorskip("uvicorn", reason="needs the package uvicorn")

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


class TalksOn(AsyncStreamingModel):
    """Says a word and another one, until somebody ends it."""

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        while True:
            yield ChatGenerationChunk(message=AIMessageChunk("word "))
            await asyncio.sleep(0.001)


async def stream(model: AsyncStreamingModel) -> AsyncIterator[str]:
    async for chunk in model.astream("q"):
        yield chunk.text


def whose(request: dict[str, Any]) -> dict[str, str]:
    return {"user": dict(request["headers"])[b"x-user"].decode()}


@contextmanager
def serving(ops: LLMOps) -> Iterator[httpx.Client]:
    """A client of a real server, which is shut down as by SIGTERM."""
    app = FastAPI()
    app.add_middleware(TrackingMiddleware, ops=ops, scope=whose)
    app.get("/whole")(lambda: StreamingResponse(stream(AsyncStreamingModel())))
    app.get("/endless")(lambda: StreamingResponse(stream(TalksOn())))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, ws="none", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=30) as client:
            yield client
        server.should_exit = True
        thread.join()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a.db"


def stored(url: str) -> list[Event]:
    with Database(url) as database, database.begin(read_only=True) as connection:
        return [from_row(dict(row)) for row in connection.execute(select(events)).mappings()]


def test_a_reader_who_leaves_midway_is_charged_for_what_came(url) -> None:
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with LLMOps(url, Settings()) as ops:
        ops.ledger.listen(heard.put)
        with serving(ops) as client:
            with client.stream("GET", "/endless", headers={"x-user": "ann"}) as response:
                words = response.iter_text()
                assert "word" in next(words)
            event = heard.get(timeout=30)
    assert (event.user, event.aborted, event.estimated) == ("ann", True, True)
    assert event.output_tokens > 0
    assert [each.id for each in stored(url)] == [event.id]


def test_of_readers_who_stay_and_leave_together_none_is_lost_or_mixed_up(url) -> None:
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def read(client: httpx.Client, number: int) -> None:
        path = "/endless" if number % 2 else "/whole"
        headers = {"x-user": f"user{number}"}
        with client.stream("GET", path, headers=headers) as response:
            next(response.iter_bytes())

    with LLMOps(url, Settings()) as ops:
        ops.ledger.listen(heard.put)
        with serving(ops) as client:
            readers = [threading.Thread(target=read, args=(client, number)) for number in range(16)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            found = [heard.get(timeout=30) for _ in readers]
    assert sorted(event.user for event in found) == sorted(f"user{n}" for n in range(16))
    left = {event.user for event in found if event.aborted}
    assert left >= {f"user{number}" for number in range(1, 16, 2)}
    assert {event.id for event in stored(url)} == {event.id for event in found}


def test_what_was_recorded_is_stored_before_the_server_has_ended(url) -> None:
    with LLMOps(url, Settings()) as ops:
        with serving(ops) as client:
            client.get("/whole", headers={"x-user": "ann"}).raise_for_status()
        assert [event.user for event in stored(url)] == ["ann"]
