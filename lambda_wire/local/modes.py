"""Standard mode and managed instances: everything in which an execution environment differs between the two.

In standard mode it runs one invocation at a time, is done with it when its runtime polls again, and is killed when a
deadline passes. In managed-instances mode it runs many, is done with each when that is answered, and outlives every
deadline: its caller is told at once, its runtime when the answer comes too late. Source: the emulator of aws-sam-cli
1.170.0, observed. There an answer that has begun has no deadline; here it is refused then, as AWS's code foresees it
(RS-END-7).
"""

from __future__ import annotations

import uuid
from typing import Protocol

from lambda_wire._lifecycle import Lifecycle, ManagedLifecycle, StandardLifecycle
from lambda_wire._state import Attempt, State

__all__ = ["ManagedMode", "Mode", "StandardMode"]


class Mode(Protocol):
    """How one environment behaves, and where it is."""

    @property
    def lifecycle(self) -> Lifecycle:
        """What all connections of its runtime share."""
        ...

    @property
    def outlives_deadlines(self) -> bool:
        """Whether the runtime goes on when a deadline has passed."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether a poll gets, at once, the event that is still unanswered."""
        ...

    def fresh_invocation_id(self) -> str:
        """Return the id of a new attempt; empty when attempts have none."""
        ...

    def is_answered(self, request_id: str) -> bool:
        """Say whether nothing more can come of an invocation that the runtime was told of."""
        ...

    def is_over(self, request_id: str) -> bool:
        """Say whether the environment is done with it."""
        ...

    def expire(self, request_id: str) -> None:
        """Let its deadline pass."""


class StandardMode:
    """One invocation at a time."""

    def __init__(self) -> None:
        self.lifecycle: StandardLifecycle = StandardLifecycle()
        self.outlives_deadlines: bool = False

    @property
    def repeats(self) -> bool:
        """Whether the runtime has been told of an invocation and has not begun to answer it (RT-NEXT-20)."""
        return self.lifecycle.state is State.RUNNING

    def fresh_invocation_id(self) -> str:
        """Return no id."""
        return ""

    def is_answered(self, request_id: str) -> bool:  # noqa: ARG002  # there is one
        """Say whether an answer was taken, refused or lost."""
        return self.lifecycle.state in (State.RESPONSE_SENT, State.READY)

    def is_over(self, request_id: str) -> bool:  # noqa: ARG002  # there is one
        """Say whether the runtime has polled again: that completes the invocation."""
        return self.lifecycle.state is State.READY

    def expire(self, request_id: str) -> None:
        """Nothing: the runtime is killed."""


class ManagedMode:
    """Many invocations at once, each for itself."""

    def __init__(self) -> None:
        self.lifecycle: ManagedLifecycle = ManagedLifecycle()
        self.outlives_deadlines: bool = True
        self.repeats: bool = False

    def fresh_invocation_id(self) -> str:
        """Return a new id, as AWS's look."""
        return str(uuid.uuid4())

    def is_answered(self, request_id: str) -> bool:
        """Say whether its answer was taken, refused or lost, or would come too late."""
        return self.lifecycle.attempts.get(request_id) not in (Attempt.RUNNING, Attempt.ANSWERING)

    def is_over(self, request_id: str) -> bool:
        """Say the same: no poll is needed."""
        return self.is_answered(request_id)

    def expire(self, request_id: str) -> None:
        """Let its deadline pass. That is no end of an answer that has begun."""
        self.lifecycle.expire(request_id)
