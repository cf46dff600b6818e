"""What is no text counts by the provider's formula where its size can be seen, else by a guess."""

import io
import struct
import wave
import zlib
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from llmops_langchain.tokens import counter_for
from llmops_langchain.tokens.images import Size, image_size

SIDES = st.integers(1, 16_383)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height)


def jpeg(width: int, height: int) -> bytes:
    preview = b"\xff\xe1" + struct.pack(">H", 40_002) + bytes(40_000)
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)
    return b"\xff\xd8" + preview + frame


def webp(width: int, height: int) -> bytes:
    return _webp(b"VP8 ", bytes(10) + struct.pack("<HH", width, height))


def webp_lossless(width: int, height: int) -> bytes:
    return _webp(b"VP8L", bytes(5) + struct.pack("<I", (width - 1) | (height - 1) << 14))


def webp_extended(width: int, height: int) -> bytes:
    sides = ((side - 1).to_bytes(3, "little") for side in (width, height))
    return _webp(b"VP8X", bytes(8) + b"".join(sides))


def _webp(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF" + bytes(4) + b"WEBP" + kind + rest


FORMATS = [png, gif, jpeg, webp, webp_lossless, webp_extended]


def wav(seconds: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8_000, 0, "NONE", ""))
        sound.writeframes(bytes(int(16_000 * seconds)))
    return file.getvalue()


def pdf(pages: int, *, packed: bool = False) -> bytes:
    objects = b"<</Type /Pages>>" + b"<</Type /Page /Parent 1 0 R>>" * pages
    if packed:
        objects = b"<</Type /ObjStm /Length 9>>\nstream\r\n" + zlib.compress(objects)
    return b"%PDF-1.7\n" + objects


def encoded(content: bytes) -> str:
    return b64encode(content).decode()


def image(content: bytes, detail: str = "auto") -> dict:
    url = f"data:image/png;base64,{encoded(content)}"
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def tokens(model: str, block: dict) -> int:
    counter = counter_for(model)
    return counter.message(HumanMessage([block])) - counter.message(HumanMessage([]))


@pytest.mark.parametrize("made", FORMATS)
@given(width=SIDES, height=SIDES)
def test_an_image_states_its_size(made, width, height) -> None:
    assert image_size(made(width, height)) == Size(width, height)


@given(st.sampled_from(FORMATS), st.binary(max_size=40), st.integers(0, 60))
def test_a_broken_header_states_none(made, junk, end) -> None:
    found = image_size(made(7, 9)[:end] + junk)
    assert found is None or min(found) > 0


@pytest.mark.parametrize(
    ("model", "width", "height", "expected"),
    [
        # OpenAI's guide on vision, "Calculating costs", gives these examples.
        ("gpt-4o", 1024, 1024, 765),
        ("gpt-4o", 2048, 4096, 1105),
        ("gpt-4o", 512, 512, 255),
        ("gpt-4o-mini", 512, 512, 8_500),
        ("gpt-5", 1024, 1024, 630),
        ("o3", 1024, 1024, 675),
        ("gpt-4.1-mini", 1024, 1024, 1_659),
        ("o4-mini", 1800, 2400, 2_498),
        # Anthropic's guide on vision: 200 x 200 is about 54, 1092 x 1092 about 1,590.
        ("claude-sonnet-4-5", 200, 200, 54),
        ("claude-sonnet-4-5", 1092, 1092, 1_590),
        ("claude-sonnet-4-5", 8000, 6000, 1_600),
        ("claude-opus-4-7", 8000, 6000, 4_784),
        # Google's guide on tokens: 258 for a small image, 960 x 540 in six crops.
        ("gemini-2.5-pro", 384, 384, 258),
        ("gemini-2.5-pro", 960, 540, 1_548),
        ("gemini-3-pro", 960, 540, 1_120),
        ("gemma-3-27b-it", 960, 540, 256),
    ],
)
def test_an_image_counts_as_its_provider_says(model, width, height, expected) -> None:
    assert tokens(model, image(png(width, height))) == expected


@given(st.sampled_from(["gpt-4o", "o4-mini", "claude-opus-4-7", "gemini-2.5-pro"]), SIDES, SIDES)
def test_an_image_of_any_shape_has_a_price(model, width, height) -> None:
    assert 0 < tokens(model, image(png(width, height))) < 13_000


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": encoded(png(512, 512)), "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": encoded(png(512, 512))},
        {"type": "image", "source": {"type": "base64", "data": encoded(png(512, 512))}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{encoded(png(512, 512))}"},
        {"image": {"format": "png", "source": {"bytes": png(512, 512)}}},
        {"type": "media", "mime_type": "image/png", "data": png(512, 512)},
        {"type": "file", "mime_type": "image/png", "base64": encoded(png(512, 512))},
        {"type": "image", "base64": urlsafe_b64encode(jpeg(512, 512)).decode()},
    ],
)
def test_an_image_is_found_in_every_kind_of_block(block) -> None:
    assert tokens("gpt-4o", block) == 255


@pytest.mark.parametrize("content", ["https://example.com/a.png", "data:image/png;base64,%%%", ""])
def test_an_image_that_cannot_be_seen_counts_as_a_usual_one(content) -> None:
    assert tokens("gpt-4o", {"type": "image_url", "image_url": {"url": content}}) == 765


def test_low_detail_has_a_price_of_its_own() -> None:
    assert tokens("gpt-4o", image(png(2000, 2000), detail="low")) == 85


@pytest.mark.parametrize(
    ("model", "seconds", "expected"), [("gpt-4o", 60, 601), ("gemini-2.5-pro", 60, 1_921)]
)
def test_a_sound_counts_by_its_seconds(model, seconds, expected) -> None:
    block = {"type": "input_audio", "input_audio": {"data": encoded(wav(seconds)), "format": "wav"}}
    assert tokens(model, block) == expected


@pytest.mark.parametrize("content", ["x", encoded(b"RIFF____WAVEfmt "), encoded(b"ID3" * 99)])
def test_a_sound_of_unknown_length_is_a_guess(content) -> None:
    assert tokens("gpt-4o", {"type": "audio", "base64": content}) == 1_000


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gpt-4o", 6_000), ("claude-opus-4-7", 11_400), ("gemini-2.5-pro", 774)],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_pdf_counts_by_its_pages(model, expected, packed) -> None:
    data = encoded(pdf(3, packed=packed))
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    assert tokens(model, {"type": "document", "source": source}) == expected
    file = {"file_data": f"data:application/pdf;base64,{data}", "filename": "a.pdf"}
    assert tokens(model, {"type": "file", "file": file}) == expected


def test_a_linearized_pdf_says_its_pages() -> None:
    content = b"%PDF-1.7\n<</Linearized 1/L 9/N 4/H [1 2]>>"
    assert tokens("gpt-4o", {"type": "file", "base64": encoded(content)}) == 8_000


@pytest.mark.parametrize("content", ["", "x", encoded(b"PK\x03\x04"), encoded(pdf(0))])
def test_a_file_of_unknown_length_is_a_guess(content) -> None:
    assert tokens("gpt-4o", {"type": "file", "base64": content}) == 2_000


def test_a_damaged_pdf_is_a_guess() -> None:
    content = b"%PDF-1.7\n/Type /ObjStm stream\njunk"
    assert tokens("gpt-4o", {"type": "file", "base64": encoded(content)}) == 2_000


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "text", "data": "Hello, world!"}},
        {"type": "document", "source": {"type": "content", "content": "Hello, world!"}},
        {"type": "file", "mime_type": "text/plain", "base64": encoded(b"Hello, world!")},
        {"type": "search_result", "content": [{"type": "text", "text": "Hello, world!"}]},
        {"text": "Hello, world!"},
    ],
)
def test_a_document_that_is_text_counts_as_text(block) -> None:
    assert tokens("gpt-4o", block) == 4


def test_a_film_is_a_guess() -> None:
    assert tokens("gpt-4o", {"type": "media", "mime_type": "video/mp4", "data": "x"}) == 8_000


def test_what_is_encrypted_counts_by_its_length() -> None:
    assert tokens("gpt-4o", {"type": "redacted_thinking", "data": "x" * 1_600}) == 300
    found = {"type": "web_search_result", "title": "A", "encrypted_content": "x" * 1_600}
    plain = {"type": "web_search_tool_result", "content": [{**found, "encrypted_content": ""}]}
    hidden = {"type": "web_search_tool_result", "tool_use_id": "1", "content": [found]}
    assert tokens("gpt-4o", hidden) - tokens("gpt-4o", plain) in range(300, 310)


def test_ids_and_signatures_are_not_read() -> None:
    block = {"type": "server_tool_use", "name": "web_search", "input": {"query": "tea"}}
    marked = {**block, "id": "srvtoolu_1", "cache_control": {"type": "ephemeral"}}
    assert tokens("gpt-4o", marked) == tokens("gpt-4o", block)


def test_the_summary_of_reasoning_counts() -> None:
    summary = [{"type": "summary_text", "text": "Hello, world!"}]
    assert tokens("gpt-4o", {"type": "reasoning", "summary": summary}) == 4
