"""A row gives back what was packed under its key, or nothing."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from cryptography.fernet import Fernet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops_langchain.errors import ConfigurationError, MissingExtraError
from llmops_langchain.storage.packing import _MAX_BYTES, _ZSTD, Packer, _checksum

FIRST, SECOND = (Fernet.generate_key().decode() for _ in range(2))
PLAIN, SEALED = Packer(), Packer([FIRST])
KEY = b"k" * 32
LONG = b"the same again " * 1000

packers = st.sampled_from([PLAIN, SEALED])
keys = st.binary(min_size=32, max_size=32)
bodies = st.binary(max_size=300) | st.builds(lambda part: part * 400, st.binary(max_size=20))


@settings(deadline=None)
@given(packers, keys, bodies)
@example(PLAIN, KEY, LONG)
def test_what_is_packed_comes_back(packer, key, body) -> None:
    assert packer.unpack(key, packer.pack(key, body)) == body


@settings(deadline=None)
@given(packers, bodies, st.data())
def test_a_flipped_bit_is_noticed(packer, body, data) -> None:
    row = bytearray(packer.pack(KEY, body))
    row[data.draw(st.integers(0, len(row) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="row"):
        packer.unpack(KEY, bytes(row))


@settings(deadline=None)
@given(packers, bodies, st.integers(0), st.binary(max_size=3))
def test_a_row_of_another_length_is_noticed(packer, body, at, more) -> None:
    row = packer.pack(KEY, body)
    for other in (row[: at % len(row)], row + b"\0" + more):
        with pytest.raises(ValueError, match="row"):
            packer.unpack(KEY, other)


@settings(deadline=None)
@given(packers, keys, bodies)
def test_a_row_under_another_key_is_noticed(packer, key, body) -> None:
    with pytest.raises(ValueError, match="another key"):
        packer.unpack(bytes([key[0] ^ 1]) + key[1:], packer.pack(key, body))


@settings(deadline=None)
@given(packers, st.binary(max_size=100))
@example(PLAIN, b"")
@example(PLAIN, b'\x01[["ai", {"content": "a row of the first format"}, null]]')
def test_foreign_bytes_are_a_value_error(packer, row) -> None:
    with pytest.raises(ValueError, match="row"):
        packer.unpack(KEY, row)


def test_long_answers_are_packed_where_it_pays() -> None:
    assert len(PLAIN.pack(KEY, LONG)) < 100
    for stays in (b"short " * 9, os.urandom(2000)):
        assert len(PLAIN.pack(KEY, stays)) == len(stays) + 17  # form and checksum


def test_an_encrypted_row_does_not_show_its_answer() -> None:
    row = SEALED.pack(KEY, b"the secret answer")
    assert b"secret" not in row
    assert SEALED.pack(KEY, b"the secret answer") != row


def test_a_new_key_in_front_still_reads_what_the_old_one_wrote() -> None:
    rotated, row = Packer([SECOND, FIRST]), SEALED.pack(KEY, b"x")
    assert rotated.unpack(KEY, row) == b"x"
    assert Packer([SECOND]).unpack(KEY, rotated.pack(KEY, b"y")) == b"y"


@pytest.mark.parametrize(
    ("writer", "reader"),
    [(PLAIN, SEALED), (SEALED, PLAIN), (Packer([SECOND]), SEALED)],
    ids=["plain-row", "no-key", "other-key"],
)
def test_a_row_that_was_not_written_with_a_known_key_is_refused(writer, reader) -> None:
    with pytest.raises(ValueError, match="encrypted"):
        reader.unpack(KEY, writer.pack(KEY, LONG))


@pytest.mark.parametrize("tells_its_size", [True, False])
def test_a_row_that_would_fill_the_memory_stays_closed(tells_its_size) -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=tells_its_size)
    bomb = compressor.compress(bytes(_MAX_BYTES + 1))
    row = _ZSTD + _checksum(KEY, _ZSTD, bomb) + bomb
    with pytest.raises(ValueError, match="too long"):
        PLAIN.unpack(KEY, row)


@pytest.mark.parametrize("frame", [b"no frame at all", zstandard.compress(LONG)[:-4]])
def test_a_frame_that_was_never_whole_is_a_value_error(frame) -> None:
    with pytest.raises(ValueError, match="decompressed"):
        PLAIN.unpack(KEY, _ZSTD + _checksum(KEY, _ZSTD, frame) + frame)


def test_an_answer_that_could_not_be_read_again_is_not_packed() -> None:
    with pytest.raises(ValueError, match="too long"):
        PLAIN.pack(KEY, bytes(_MAX_BYTES + 1))


def test_threads_share_a_packer() -> None:
    def there_and_back(_: int) -> bool:
        body = os.urandom(100_000).hex().encode()  # long enough for zstd to let other threads run
        return PLAIN.unpack(KEY, PLAIN.pack(KEY, body)) == body

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(there_and_back, range(40)))


@pytest.mark.parametrize("keys", [["hunter2"], [FIRST, "hunter2"], "hunter2", [7], ["hunter2é"]])
def test_a_malformed_key_is_refused_and_not_quoted(keys) -> None:
    with pytest.raises(ConfigurationError, match="generate_key") as caught:
        Packer(keys)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_keys_without_cryptography_name_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(MissingExtraError, match=r"llmops-langchain\[crypto\]"):
        Packer([FIRST])
