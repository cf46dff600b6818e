"""Where `Settings` put the answers, and what of them is encrypted."""

import logging

import pytest
from cryptography.fernet import Fernet
from models import CountingModel
from sqlalchemy import select

from llmops_langchain import ConfigurationError, LLMOps, Settings
from llmops_langchain.storage.schema import cache_entries

KEY = Fernet.generate_key().decode()


def rows(ops: LLMOps) -> list[bytes]:
    """What lies in the database."""
    with ops.database.begin(read_only=True) as connection:
        return [bytes(row[0]) for row in connection.execute(select(cache_entries.c.value))]


def test_answers_lie_in_the_database_as_they_are() -> None:
    with LLMOps("sqlite://") as ops:
        ops.cached(CountingModel()).invoke("q")
        assert b"the answer" in rows(ops)[0]


def test_with_a_key_they_cannot_be_read_there() -> None:
    with LLMOps("sqlite://", Settings(encryption_key=KEY, require_encryption=True)) as ops:
        model = ops.cached(CountingModel())
        model.invoke("q")
        assert b"the answer" not in rows(ops)[0]
        assert model.invoke("q").content == "the answer"


def test_where_a_key_is_required_and_missing_nothing_is_stored(caplog) -> None:
    caplog.set_level(logging.WARNING)
    with LLMOps("sqlite://", Settings(require_encryption=True)) as ops:
        model = ops.cached(CountingModel())
        model.invoke("q")
        model.invoke("q")
        assert (rows(ops), model.calls) == ([], 1)
    assert "require_encryption" in caplog.text


def test_a_server_keeps_them_if_one_is_named(valkey_url) -> None:
    for calls in (1, 0):
        with LLMOps("sqlite://", Settings(cache_url=valkey_url)) as ops:
            model = ops.cached(CountingModel())
            model.invoke("q")
            assert (rows(ops), model.calls) == ([], calls)


def test_a_bound_is_kept(tmp_path) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/a.db", Settings(cache_max_bytes=20_000)) as ops:
        model = ops.cached(CountingModel())
        for number in range(200):
            model.invoke(str(number))
        assert sum(map(len, rows(ops))) < 20_000
        assert model.invoke("199").content == "the answer"
    assert model.calls == 200


def test_a_server_may_be_called_valkey() -> None:
    with LLMOps("sqlite://", Settings(cache_url="valkey://localhost:1/0")) as ops:
        assert ops.cached(CountingModel()).invoke("q").content == "the answer"


@pytest.mark.parametrize(
    "wrong",
    [
        {"cache_url": "http://cache"},
        {"cache_url": "redis://cache", "cache_max_bytes": 1},
        {"encryption_key": "no key"},
        {"cache_wait": -1},
        {"cache_max_bytes": -1},
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_refused(wrong) -> None:
    with pytest.raises(ConfigurationError):
        LLMOps("sqlite://", Settings(**wrong))


def test_a_dead_server_does_not_break_a_call(tmp_path, caplog) -> None:
    caplog.set_level(logging.WARNING)
    with LLMOps("sqlite://", Settings(cache_url=f"unix://{tmp_path}/none")) as ops:
        model = ops.cached(CountingModel())
        assert [model.invoke("secret").content for _ in range(2)] == ["the answer"] * 2
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
