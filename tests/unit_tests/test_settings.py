"""Settings are frozen, and the environment can fill each of them."""

from dataclasses import FrozenInstanceError, fields
from decimal import Decimal
from pathlib import Path

import pytest

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.settings import Settings

GIVEN = {
    "LLMOPS_DISABLED": "1",
    "LLMOPS_AUTO_MIGRATE": "false",
    "LLMOPS_DB_SCHEMA": "own",
    "LLMOPS_LOCK_TIMEOUT": "2.5",
    "LLMOPS_DURABILITY": "fsync",
    "LLMOPS_JOURNAL_DIR": "/data/journals",
    "LLMOPS_ENCRYPTION_KEY": "new, old",
    "LLMOPS_REQUIRE_ENCRYPTION": "yes",
    "LLMOPS_CACHE_TTL": "60",
    "LLMOPS_CACHE_MAX_ITEMS": "10",
    "LLMOPS_CACHE_MAX_BYTES": "1000000",
    "LLMOPS_CACHE_SHARE": "project",
    "LLMOPS_CACHE_WAIT": "5",
    "LLMOPS_EMBEDDINGS_DIR": "/data/minilm",
    "LLMOPS_CACHE_URL": "redis://cache:6379/0",
    "LLMOPS_CHROMA_DIR": "/data/chroma",
    "LLMOPS_CHROMA_URL": "http://chroma:8000",
    "LLMOPS_FALLBACK_PRICE": "3, 15",
    "LLMOPS_UNSCOPED": "allow",
    "LLMOPS_ON_STORE_FAILURE": "allow",
    "LLMOPS_BUDGET_LEASE": "60",
    "LLMOPS_BUDGET_SLICE": "0.5",
    "LLMOPS_CAPTURE_CONTENT": "1",
    "LLMOPS_CONTENT_RETENTION": "3600",
    "LLMOPS_DECISION_RETENTION": "7200",
    "LLMOPS_EVENT_RETENTION": "86400",
    "LLMOPS_EXPERIENCE_RETENTION": "604800",
    "LLMOPS_HISTORY_RETENTION": "86400",
    "LLMOPS_WORKSPACE_RETENTION": "3600",
    "LLMOPS_AUDIT_KEY": "new, old",
    "LLMOPS_AUDIT_KEY_FILE": "/run/secrets/audit",
    "LLMOPS_AUDIT_ANCHOR_FILE": "/mnt/safe/anchors.jsonl",
}
TEXTS = {"DB_SCHEMA", "JOURNAL_DIR", "EMBEDDINGS_DIR", "ENCRYPTION_KEY", "CACHE_URL"}
TEXTS |= {"CHROMA_DIR", "CHROMA_URL", "AUDIT_KEY", "AUDIT_KEY_FILE", "AUDIT_ANCHOR_FILE"}


def test_an_empty_environment_leaves_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()


def test_every_setting_can_come_from_the_environment() -> None:
    assert len(GIVEN) == len(fields(Settings))
    assert Settings.from_env(GIVEN | {"LLMOPS_OTHER": "x", "PATH": "/"}) == Settings(
        disabled=True,
        auto_migrate=False,
        db_schema="own",
        lock_timeout=2.5,
        durability="fsync",
        journal_dir=Path("/data/journals"),
        encryption_key=("new", "old"),
        require_encryption=True,
        cache_ttl=60.0,
        cache_max_items=10,
        cache_max_bytes=1_000_000,
        cache_share="project",
        cache_wait=5.0,
        embeddings_dir=Path("/data/minilm"),
        cache_url="redis://cache:6379/0",
        chroma_dir=Path("/data/chroma"),
        chroma_url="http://chroma:8000",
        fallback_price=(Decimal(3), Decimal(15)),
        unscoped="allow",
        on_store_failure="allow",
        budget_lease=60.0,
        budget_slice=Decimal("0.5"),
        capture_content=True,
        content_retention=3600.0,
        decision_retention=7200.0,
        event_retention=86_400.0,
        experience_retention=604_800.0,
        history_retention=86_400.0,
        workspace_retention=3_600.0,
        audit_key=("new", "old"),
        audit_key_file=Path("/run/secrets/audit"),
        audit_anchor_file=Path("/mnt/safe/anchors.jsonl"),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget_lease": 0},
        {"budget_slice": -1},
        {"content_retention": 0},
        {"decision_retention": 0},
        {"event_retention": -5},
        {"history_retention": 0},
        {"fallback_price": (-1, 3)},
        {"fallback_price": ("nan", 3)},
        {"capture_content": True},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("text", "disabled"), [("1", True), ("true", True), ("0", False), ("no", False), ("", False)]
)
def test_disabled_is_a_switch(monkeypatch, text: str, *, disabled: bool) -> None:
    monkeypatch.setenv("LLMOPS_DISABLED", text)
    assert Settings.from_env().disabled is disabled


@pytest.mark.parametrize("variable", sorted(GIVEN.keys() - {f"LLMOPS_{name}" for name in TEXTS}))
def test_a_wrong_value_names_its_variable_and_is_not_quoted(variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable) as refused:
        Settings.from_env({variable: "s3cret"})
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_every_wrong_value_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"LLMOPS_DISABLED.*LLMOPS_CACHE_TTL"):
        Settings.from_env({"LLMOPS_DISABLED": "x", "LLMOPS_CACHE_TTL": "x"})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().disabled = True


def test_secrets_are_not_shown() -> None:
    told = repr(Settings(encryption_key="s3cret", cache_url="redis://:s3cret@cache"))
    assert "s3cret" not in told


def test_an_answer_may_be_kept_for_ever_by_the_environment() -> None:
    assert Settings.from_env({"LLMOPS_CACHE_TTL": "inf"}).cache_ttl == float("inf")


@pytest.mark.parametrize(
    "wrong",
    [{"cache_share": "all"}, {"cache_ttl": "soon"}, {"cache_max_bytes": "10MB"}, {"disabled": 7}],
    ids=str,
)
def test_a_wrong_value_in_code_is_named_too(wrong) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize("given", ["a,b", b"a,b", ("a", "b"), ["a", "b"], (b"a", b"b")], ids=repr)
def test_keys_may_come_as_text_bytes_or_several(given) -> None:
    assert Settings(encryption_key=given).encryption_key == ("a", "b")
