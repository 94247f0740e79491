"""Error reports: they always fit, always travel, and are read as the service reads them."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.fuzz_error_payload import one_input
from lambda_wire import _names as names
from lambda_wire._chunked import encode_end
from lambda_wire._error_payload import (
    MAX_TRAILER_DOCUMENT,
    ErrorPayload,
    XrayException,
    XrayFrame,
    decode_error,
    decode_trailers,
    encode_error,
    encode_trailers,
    encode_xray_cause,
    error_type_header,
    sanitise_error_type,
)
from lambda_wire._limits import MAX_ERROR_DOCUMENT, MAX_ERROR_TYPE, MAX_TRAILERS, MAX_XRAY_CAUSE
from lambda_wire._malformed import Malformed
from lambda_wire._record import replaced

ANY_TEXT = st.text(st.characters(), max_size=40)
ERRORS = st.builds(
    ErrorPayload,
    error_message=st.text(max_size=60),
    error_type=st.text(max_size=20),
    stack_trace=st.lists(st.text(max_size=20), max_size=5).map(tuple),
)
FRAMES = tuple(f'  File "app.py", line {n}, in handler\n    call()\n' for n in range(10_000))


def error(message: str = "boom", error_type: str = "ValueError", stack: tuple[str, ...] = ()) -> ErrorPayload:
    return ErrorPayload(error_message=message, error_type=error_type, stack_trace=stack)


class TestDocument:
    """The error document is ASCII JSON that fits and is read back."""

    def test_shape(self) -> None:
        """Three members, always, in the order of AWS's clients (ER-DOC-1)."""
        assert encode_error(error()) == b'{"errorMessage":"boom","errorType":"ValueError","stackTrace":[]}'

    @given(given=ERRORS)
    def test_inverts(self, given: ErrorPayload) -> None:
        """Whatever fits comes back equal."""
        assert decode_error(encode_error(given)) == given

    def test_hostile_text(self) -> None:
        """Control characters, DEL, lone surrogates and every alphabet travel, escaped."""
        hostile = "\0\r\n\x7f\udfff\ud800 é 漢字 \U0001f600"
        document = encode_error(error(hostile, hostile, (hostile,)))
        assert document.decode("ascii").isprintable()
        assert decode_error(document) == error(hostile, hostile, (hostile,))

    def test_a_message_of_5_mb_is_cut_visibly(self) -> None:
        """It reports what it can: the start of the message, how much is missing, and the whole stack (LI-ERROR-2)."""
        document = encode_error(error("x" * 5_000_000, stack=FRAMES[:100]))
        again = decode_error(document)
        assert len(document) == MAX_ERROR_DOCUMENT
        assert (match := re.fullmatch(r"(x+)\.\.\. \((\d+) characters cut\)", again.error_message))
        assert len(match[1]) + int(match[2]) == 5_000_000
        assert again.stack_trace == FRAMES[:100]

    def test_a_long_stack_loses_its_middle(self) -> None:
        """The message stays whole; the outermost and the innermost frames stay."""
        again = decode_error(encode_error(error("m" * 1000, stack=FRAMES), max_bytes=8192))
        assert again.error_message == "m" * 1000
        lost = 10_000 - (len(again.stack_trace) - 1)
        middle = again.stack_trace.index(f"... ({lost} entries cut)")
        assert again.stack_trace[:middle] == FRAMES[:middle]
        assert again.stack_trace[middle + 1 :] == FRAMES[middle + lost :]
        assert middle - (len(again.stack_trace) - middle - 1) in {0, 1}

    def test_both_long(self) -> None:
        """The message gets half, the stack the other."""
        again = decode_error(encode_error(error("m" * 100_000, stack=FRAMES), max_bytes=8192))
        assert 4000 < len(again.error_message) < 4096
        assert 3500 < len(json.dumps(again.stack_trace)) < 4200

    def test_one_long_entry_does_not_cost_the_others(self) -> None:
        """An entry gets a quarter of the stack's room."""
        again = decode_error(encode_error(error(stack=("a", "x" * 9999, "b")), max_bytes=1024))
        assert again.stack_trace[0] == "a"
        assert re.fullmatch(r"x+\.\.\. \(\d+ characters cut\)", again.stack_trace[1])
        assert again.stack_trace[2] == "b"

    def test_a_long_type_is_cut_when_it_does_not_fit(self) -> None:
        """To the longest that a header carries, so that the message has space."""
        document = encode_error(error("boom", "T" * 2000), max_bytes=1024)
        again = decode_error(document)
        assert again.error_message == "boom"
        assert again.error_type.startswith("TTT")
        assert again.error_type.endswith(" characters cut)")
        assert len(again.error_type) == MAX_ERROR_TYPE

    @given(message=ANY_TEXT, error_type=ANY_TEXT, entry=ANY_TEXT, factor=st.sampled_from([1, 30, 200]))
    def test_always_fits(self, message: str, error_type: str, entry: str, factor: int) -> None:
        """In any room that may be asked for, and uses it whole where it does not need to cut (ER-DOC-7)."""
        long = error(message * factor, error_type * factor, (entry * factor,) * factor)
        for max_bytes in (1024, MAX_TRAILER_DOCUMENT, 10_000):
            document = encode_error(long, max_bytes=max_bytes)
            assert len(document) <= max_bytes
            json.loads(document)

    def test_needs_some_room(self) -> None:
        """Below 1,024 bytes a cut document would say nothing."""
        with pytest.raises(Malformed, match="1023"):
            encode_error(error(), max_bytes=1023)

    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            ("{}", error("", "")),
            ('{"errorMessage":null,"errorType":null,"stackTrace":null}', error("", "")),
            ('{"errorType":"E","errorMessage":"m","trace":["E: m","  at f"]}', error("m", "E", ("E: m", "  at f"))),
            ('{"stackTrace":["a"],"trace":["b"],"requestId":"1"}', error("", "", ("a",))),
            ('{"stackTrace":[{"path":"a.go","line":3}]}', error("", "", ('{"path":"a.go","line":3}',))),
            ('{"errorMessage":{"a":[1,2.5,true]},"errorType":7,"stackTrace":"x"}', error('{"a":[1,2.5,true]}', "7")),
            (' {"errorMessage":"é"}\n', error("é", "")),
        ],
    )
    def test_reads_every_runtime(self, document: str, expected: ErrorPayload) -> None:
        """Missing members, Node's trace, Go's frames, values that should be text (ER-DOC-6)."""
        assert decode_error(document.encode()) == expected

    def test_reads_bytes_that_are_no_utf_8(self) -> None:
        """Shown as what they are not."""
        assert decode_error(b'{"errorMessage":"\xff"}').error_message == "\ufffd"

    @pytest.mark.parametrize(
        "document",
        [b"", b"x", b"[]", b'"x"', b"1", b"null", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000],
    )
    def test_refuses_what_is_no_object(self, document: bytes) -> None:
        """No JSON, another kind of JSON, JSON nested without end, numbers without end."""
        with pytest.raises(Malformed, match="error document"):
            decode_error(document)

    @pytest.mark.parametrize("member", [names.ERROR_MESSAGE, names.ERROR_TYPE, names.STACK_TRACE])
    def test_nesting_of_any_depth(self, member: str) -> None:
        """Is an answer or Malformed: what is read may be too deep to be written again as text."""
        for depth in (*range(880, 1101), *range(2000, 10_001, 1000)):
            value = "[" * depth + "]" * depth
            try:
                read = decode_error(f'{{"{member}":{value}}}'.encode())
            except Malformed:
                continue
            stack = "".join(f"[{entry}]" for entry in read.stack_trace)
            assert value in (read.error_message, read.error_type, stack)

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ({"error_message": 5}, "error_message must be a string, got int"),
            ({"error_type": None}, "error_type must be a string, got NoneType"),
            ({"stack_trace": ["a"]}, "stack_trace must be a tuple of strings, got list"),
            ({"stack_trace": "ab"}, "stack_trace must be a tuple of strings, got str"),
            ({"stack_trace": ("a", 5)}, "an entry of stack_trace must be a string, got int"),
        ],
    )
    def test_is_made_of_texts(self, wrong: dict[str, Any], reason: str) -> None:  # Any: of every wrong type
        """Anything else would not come back as it was given."""
        with pytest.raises(Malformed, match=f"^{reason}$"):
            replaced(error(), **wrong)

    def test_may_hold_surrogates(self) -> None:
        """A handler's exception may, and its report must arrive all the same."""
        odd = error("\ud800", "\udcff", ("\ud800",))
        assert decode_error(encode_error(odd)) == odd

    def test_says_little_when_logged(self) -> None:
        """Messages stay out of repr."""
        assert repr(error("secret", stack=("secret",))) == "ErrorPayload(error_type='ValueError')"


class TestErrorType:
    """An error type is a harmless header value, and means what the service makes of it."""

    @pytest.mark.parametrize(
        ("error_type", "header"),
        [
            ("ValueError", "ValueError"),
            ("a\\b c", "a\\b c"),
            ("", "Runtime.Unknown"),
            ("a\r\nX: y", "a\\r\\nX: y"),
            ("\0\x7f\t", "\\x00\\x7f\\t"),
            ("Größe", "Gr\\xf6\\xdfe"),
            ("漢\U0001f600\ud800", "\\u6f22\\U0001f600\\ud800"),
            (" a ", '" a "'),
            (" ", '" "'),
            ("x" * 256, "x" * 256),
            ("x" * 257, "x" * 253 + "..."),
            (" " + "x" * 300, '" ' + "x" * 251 + "..."),
            ("é" * 65, "\\xe9" * 63 + "\\..."),
            ("x" * 256 + " " * 9, '"' + "x" * 252 + "..."),
        ],
    )
    def test_header(self, error_type: str, header: str) -> None:
        """What cannot travel is shown, what is too long is cut, what is harmless stays (ER-TYPE-3, LI-ERROR-3)."""
        assert error_type_header(error_type) == header

    @given(error_type=ANY_TEXT | st.text(min_size=200, max_size=400))
    def test_header_always_travels(self, error_type: str) -> None:
        """Printable, bounded, no outer blanks; and once is enough (ER-TYPE-3)."""
        header = error_type_header(error_type)
        assert 0 < len(header) <= MAX_ERROR_TYPE
        assert header.isascii()
        assert header.isprintable()
        assert header == header.strip() == error_type_header(header)

    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            ("xxRuntime.Abc 123", "xxRuntime.Abc 123"),
            ("Runtime.X", "Runtime.Unknown"),
            ("Runtime.x", "Runtime.Unknown"),
            ("Runtime.XY", "Runtime.XY"),
            ("Runtime.X1", "Runtime.Unknown"),
            ("Runtime.ÉA", "Runtime.Unknown"),
            ("Function.foo", "Function.Unknown"),
            ("Function.", "Function.Unknown"),
            ("xFunction.foo", "Runtime.Unknown"),
            ("Runtime.ARuntime.", "Runtime.ARuntime."),
            ("ValueError", "Runtime.Unknown"),
            ("", "Runtime.Unknown"),
        ],
    )
    def test_sanitised(self, value: str, kept: str) -> None:
        """As recorded of the service (wire cases of /error and /init/error; ER-TYPE-4)."""
        assert sanitise_error_type(value) == kept

    @given(parts=st.lists(st.sampled_from(["Runtime", "Function", ".", "A", "b", "1", "é", "É", "\n"]), max_size=8))
    def test_sanitised_as_the_pattern_says(self, parts: list[str]) -> None:
        """The service searches with a pattern; we have no ``re`` and must agree."""
        value = "".join(parts)
        if re.search(r"(Runtime|Function)\.[A-Z][a-zA-Z]+", value):
            assert sanitise_error_type(value) == value
        else:
            assert sanitise_error_type(value) == (
                "Function.Unknown" if value.startswith("Function.") else "Runtime.Unknown"
            )


class TestTrailers:
    """The two trailers carry a type and a document, and fit where the service looks for them."""

    def test_shape(self) -> None:
        """Type, then body in standard base64 with padding (RS-TRAILER-2)."""
        assert encode_trailers("Runtime.Boom", b"\xfb\xff\xfe\xff") == (
            ("Lambda-Runtime-Function-Error-Type", "Runtime.Boom"),
            ("Lambda-Runtime-Function-Error-Body", "+//+/w=="),
        )

    @given(error_type=ANY_TEXT.map(error_type_header), body=st.binary(max_size=60))
    def test_inverts(self, error_type: str, body: bytes) -> None:
        """What went comes back, whatever the spelling of the names (RS-TRAILER-6)."""
        trailers = encode_trailers(error_type, body)
        assert decode_trailers(trailers) == (error_type, body)
        assert decode_trailers(tuple((name.lower(), value) for name, value in reversed(trailers))) == (error_type, body)

    def test_the_longest_report_fits_exactly(self) -> None:
        """The longest type with the largest document is at the service's limit (LI-TRAILER-2, UN-9)."""
        trailers = encode_trailers("T" * MAX_ERROR_TYPE, b"x" * MAX_TRAILER_DOCUMENT)
        assert MAX_TRAILERS - 3 <= len(encode_end(trailers)) - len(b"0\r\n") <= MAX_TRAILERS
        with pytest.raises(Malformed, match=f"{MAX_TRAILERS} bytes"):
            encode_trailers("T" * MAX_ERROR_TYPE, b"x" * (MAX_TRAILER_DOCUMENT + 3))

    def test_the_limit_is_that_of_the_section(self) -> None:
        """One byte more and the section would not be written."""
        longest = "T" * (MAX_TRAILERS - len(encode_end(encode_trailers("T", b""))) + len(b"0\r\n") + 1)
        assert len(encode_end(encode_trailers(longest, b""))) == len(b"0\r\n") + MAX_TRAILERS
        with pytest.raises(Malformed, match=f"got {MAX_TRAILERS + 1}"):
            encode_trailers(longest + "T", b"")
        with pytest.raises(Malformed, match=f"{MAX_TRAILERS} bytes"):
            encode_trailers("\ud800" * 2000, b"")

    def test_an_empty_type_is_refused(self) -> None:
        """Managed instances read it as success (RS-TRAILER-3)."""
        with pytest.raises(Malformed, match="empty"):
            encode_trailers("", b"{}")

    @pytest.mark.parametrize(
        ("error_type", "body", "expected"),
        [
            ("E", base64.b64encode(b"hi").decode(), ("E", b"hi")),
            ("E", None, ("E", b"")),
            ("E", "", ("E", b"")),
            ("E", '{"errorType":"E"}', ("E", b"")),
            ("E", "-__-_w==", ("E", b"")),
            ("E", "aGk", ("E", b"")),
            ("E", "é", ("E", b"")),
            (None, "aGk=", None),
            ("", "aGk=", None),
            (None, None, None),
        ],
    )
    def test_read_as_managed_instances_do(
        self, error_type: str | None, body: str | None, expected: tuple[str, bytes] | None
    ) -> None:
        """The type decides; a body that is not standard, padded base64 is empty (RS-TRAILER-3, RS-TRAILER-7)."""
        fields = ((names.FUNCTION_ERROR_TYPE, error_type), (names.FUNCTION_ERROR_BODY, body))
        assert decode_trailers(tuple((name, value) for name, value in fields if value is not None)) == expected

    def test_the_first_of_repeated_fields_counts(self) -> None:
        """As Go's Header.Get; other trailers do not matter."""
        name = names.FUNCTION_ERROR_TYPE
        assert decode_trailers((("x", "y"), (name, "A"), (name.upper(), "B"))) == ("A", b"")


def exception(message: str = "boom", stack: tuple[XrayFrame, ...] = ()) -> XrayException:
    return XrayException(type="ValueError", message=message, stack=stack)


def frames(count: int) -> tuple[XrayFrame, ...]:
    return tuple(XrayFrame(path="/var/task/app.py", line=line, label="handler") for line in range(count))


class TestXrayCause:
    """The X-Ray cause is a header value, whatever is in it."""

    def test_shape(self) -> None:
        """As the service keeps it (case a10_error_with_type_and_xray; ER-XRAY-1)."""
        mine = XrayException(type="MyErr", message="boom", stack=(XrayFrame(path="a.py", line=3, label="f"),))
        assert encode_xray_cause("/var/task", (mine,), ("a.py",)) == (
            '{"working_directory":"/var/task",'
            '"exceptions":[{"message":"boom","type":"MyErr","stack":[{"path":"a.py","line":3,"label":"f"}]}],'
            '"paths":["a.py"]}'
        )

    def test_hostile_text(self) -> None:
        """No line end, no control character, no byte above ASCII: the header cannot break (ER-XRAY-3)."""
        hostile = "\r\n\0\x7f\ud800 é 漢"
        stack = (XrayFrame(path=hostile, line=-1, label=hostile),)
        text = encode_xray_cause(hostile, (XrayException(type=hostile, message=hostile, stack=stack),), (hostile,))
        assert text.isascii()
        assert text.isprintable()
        assert json.loads(text)["exceptions"][0]["stack"] == [{"path": hostile, "line": -1, "label": hostile}]

    def test_a_long_stack_loses_its_middle(self) -> None:
        """Both ends stay, and a frame says how many are missing (LI-XRAY-1)."""
        text = encode_xray_cause("/", (exception(stack=frames(20_000)), exception(stack=frames(2))), ("p",))
        assert MAX_XRAY_CAUSE - 200 < len(text) <= MAX_XRAY_CAUSE
        first, second = json.loads(text)["exceptions"]
        assert (first["stack"][0]["line"], first["stack"][-1]["line"]) == (0, 19_999)
        assert {"path": "...", "line": 0, "label": f"({20_001 - len(first['stack'])} frames cut)"} in first["stack"]
        assert len(second["stack"]) == 2

    def test_a_long_message_is_cut_visibly(self) -> None:
        """The stack stays whole."""
        read = json.loads(encode_xray_cause("/", (exception("x" * 5_000_000, frames(50)),), ()))["exceptions"][0]
        assert re.fullmatch(r"x{4000,}\.\.\. \(\d+ characters cut\)", read["message"])
        assert len(read["stack"]) == 50

    @given(text=ANY_TEXT, factor=st.sampled_from([0, 1, 30, 100]), max_bytes=st.sampled_from([1024, 2048, 65_536]))
    def test_always_fits(self, text: str, factor: int, max_bytes: int) -> None:
        """Long texts, many frames, many exceptions, many paths; the first exception is never lost."""
        long = text * factor
        one = XrayException(type=long, message=long, stack=(XrayFrame(path=long, line=2**63 - 1, label=long),) * factor)
        cause = encode_xray_cause(long, (one,) * min(factor, 20), (long,) * factor, max_bytes=max_bytes)
        assert len(cause) <= max_bytes
        assert bool(json.loads(cause)["exceptions"]) == bool(factor)

    def test_needs_some_room(self) -> None:
        """Below 1,024 bytes a cut cause would say nothing."""
        with pytest.raises(Malformed, match="1023"):
            encode_xray_cause("", (), (), max_bytes=1023)

    @pytest.mark.parametrize("line", [2**63, -(2**63) - 1])
    def test_a_line_fits_64_bits(self, line: int) -> None:
        """The service, written in Go, drops the whole cause otherwise (ER-XRAY-4)."""
        with pytest.raises(Malformed, match="64 bits"):
            XrayFrame(path="p", line=line, label="l")


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @given(data=st.binary(max_size=200))
    @example(data=b"\xed\xa0\x80")
    @example(data=b"x" * 5000)
    @example(data=b"\x80" * 5000)
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @given(
        members=st.dictionaries(
            st.sampled_from(["errorMessage", "errorType", "stackTrace", "trace", "x"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
                max_leaves=8,
            ),
        )
    )
    def test_documents(self, members: dict[str, object]) -> None:
        """Any values under the keys that mean something."""
        one_input(json.dumps(members).encode())


class TestEdges:
    """What just fits stays as it is, and what is said of a fault is what came."""

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            (b"{", "expected an error document in JSON, got '{': "),
            (b"[]", "an error document must be a JSON object, got b'[]'"),
        ],
    )
    def test_messages_of_documents(self, document: bytes, message: str) -> None:
        """Expected, got."""
        with pytest.raises(Malformed) as caught:
            decode_error(document)
        assert str(caught.value).startswith(message)

    def test_message_of_an_empty_type(self) -> None:
        """It says why that is refused."""
        with pytest.raises(Malformed) as caught:
            encode_trailers("", b"")
        assert str(caught.value) == (
            "the error type of a failed stream must not be empty: that would say that nothing failed"
        )

    def test_a_document_that_just_fits(self) -> None:
        """Is whole, a long type too; with one byte less it is not."""
        whole = encode_error(error(error_type="E" * 2000))
        assert encode_error(error(error_type="E" * 2000), max_bytes=len(whole)) == whole
        assert encode_error(error(error_type="E" * 2000), max_bytes=len(whole) - 1) != whole

    def test_a_stack_that_just_fits(self) -> None:
        """The message leaves to the stack what it needs, so that even its one long entry stays."""
        document = encode_error(error("m" * 5000, stack=("s" * 300,)), max_bytes=1024)
        assert len(document) == 1024
        assert decode_error(document).stack_trace == ("s" * 300,)

    def test_a_cut_stack_fills_its_room(self) -> None:
        """Of many entries as many stay as fit, to the last byte; the ends are equally long, or the first is longer."""
        stack = ("s" * 10,) * 200
        documents = [encode_error(error("m" * size, stack=stack), max_bytes=1024) for size in range(30)]
        assert max(map(len, documents)) == 1024
        odd = set()
        for document in documents:
            left = decode_error(document).stack_trace
            head = next(at for at, entry in enumerate(left) if "entries cut" in entry)
            odd.add(head - (len(left) - head - 1))
        assert odd == {0, 1}

    def test_an_entry_gets_a_quarter_of_the_stack(self) -> None:
        """So one long entry never costs the others."""
        document = encode_error(error(stack=("s" * 3000,) * 2), max_bytes=1024)
        room = 1024 - len(encode_error(error()))
        assert [len(entry) for entry in decode_error(document).stack_trace] == [room // 4] * 2

    def test_a_text_of_a_cause_that_just_fits(self) -> None:
        """One sixteenth of the room is for each."""
        cause = json.loads(encode_xray_cause("w" * 64, (), ("p" * 65,) * 90, max_bytes=1024))
        assert cause["working_directory"] == "w" * 64
        assert "characters cut" in cause["paths"][0]

    def test_a_cause_that_just_fits(self) -> None:
        """Is whole; what is cut may fill its room."""
        whole = encode_xray_cause("w", (), ("p" * 2000,))
        assert encode_xray_cause("w", (), ("p" * 2000,), max_bytes=len(whole)) == whole
        cut = [encode_xray_cause("w" * size, (), ("p" * 50,) * 30, max_bytes=1024) for size in range(1, 60)]
        assert max(map(len, cut)) == 1024

    def test_a_cause_of_one_kind(self) -> None:
        """Paths alone and exceptions without frames are there, all of them."""
        assert json.loads(encode_xray_cause("w", (), ("a", "b")))["paths"] == ["a", "b"]
        two = XrayException(type="A", message=""), XrayException(type="B", message="")
        assert [it["type"] for it in json.loads(encode_xray_cause("w", two, ()))["exceptions"]] == ["A", "B"]

    def test_lines_of_64_bits(self) -> None:
        """The lowest is one; the message quotes what is none."""
        assert XrayFrame(path="p", line=-(2**63), label="l").line == -(2**63)
        with pytest.raises(Malformed) as caught:
            XrayFrame(path="p", line=2**63, label="l")
        assert str(caught.value).endswith(f"got {2**63}")

    def test_error_types(self) -> None:
        """Only blanks at the ends need quotes; both of the two words are kept by the service."""
        assert error_type_header("XErrorX") == "XErrorX"
        assert sanitise_error_type("a.Function.Bc") == "a.Function.Bc"

    @pytest.mark.parametrize("body", ["aGk", "aG k=", "aGk=x", "aGk==", "=aGk="])
    def test_base64_is_strict(self, body: str) -> None:
        """What is not exactly standard, padded base64 is no document."""
        fields = ((names.FUNCTION_ERROR_TYPE, "E"), (names.FUNCTION_ERROR_BODY, body))
        assert decode_trailers(fields) == ("E", b"")
