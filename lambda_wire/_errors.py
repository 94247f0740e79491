"""Whose fault it is, once that is known. ``Malformed`` accuses nobody; these do."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_wire._events import Accepted, Refused
    from lambda_wire._invoke_events import InvokeFailed, InvokeRefused

__all__ = [
    "Busy",
    "CallFailed",
    "CallRefused",
    "ConnectionLost",
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "RequestRefused",
    "StreamInterrupted",
]


class ProtocolError(Exception):
    """Someone broke the protocol: see the two kinds."""


class LocalProtocolError(ProtocolError):
    """We may not say this now. Nothing was sent and nothing changed: say something else."""


class RemoteProtocolError(ProtocolError):
    """The peer said something that it may not. It is for ever: every later ``next_event()`` raises it again.

    Attributes:
        reply: What a well-mannered service sends before it closes; ``None`` when nothing can be said.
    """

    def __init__(self, reason: str, *, reply: Refused | None = None) -> None:
        super().__init__(reason)
        self.reply = reply


class ConnectionLost(Exception):
    """The transport failed or ended, outside anything that the protocol says.

    Attributes:
        nothing_sent: Whether it is known that nothing was sent; else the fate of what was being sent is unknown.
    """

    def __init__(self, reason: str, *, nothing_sent: bool = False) -> None:
        super().__init__(reason)
        self.nothing_sent = nothing_sent


class Busy(Exception):
    """Two callers used one connection at the same time; the second was turned away and nothing was sent."""


class RequestRefused(Exception):
    """A driver's way to interrupt: the service refused a request that cannot be gone on from.

    Attributes:
        refusal: What the service said.
    """

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal)
        self.refusal = refusal

    def __str__(self) -> str:
        return f"the service refused: {self.refusal!r}"


class StreamInterrupted(Exception):
    """The service answered, or went away, before the streamed response was complete. Nothing more can be written.

    Attributes:
        answer: What the service said; ``None`` when it closed the connection without a word.
    """

    def __init__(self, answer: Accepted | Refused | None) -> None:
        super().__init__(answer)
        self.answer = answer

    def __str__(self) -> str:
        said = "closed the connection" if self.answer is None else f"answered {self.answer!r}"
        return f"the service {said} before the streamed response was complete"


class CallRefused(Exception):
    """The service did not call the function.

    Attributes:
        refusal: What it said.
    """

    def __init__(self, refusal: InvokeRefused) -> None:
        super().__init__(refusal)
        self.refusal = refusal

    def __str__(self) -> str:
        said = " ".join(filter(None, (str(self.refusal.status), self.refusal.error_type)))
        return f"the service refused with {said}: {self.refusal.message}"


class CallFailed(Exception):
    """The service ended a streamed answer with an exception or error message: not the function's fault.

    Attributes:
        failure: What it said.
    """

    def __init__(self, failure: InvokeFailed) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"the service ended the answer with {self.failure.error_code}: {self.failure.message}"
