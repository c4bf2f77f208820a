"""Who may do what, and on which channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, NamedTuple


class Right(StrEnum):
    SEE = "see"  # that messages are, their states, keys and reasons; never a body
    READ = "read"  # bodies: what came in, what was made of it, what was sent and answered
    TRY = "try"  # workbench and comparison: nothing is sent
    STEER = "steer"  # stop, start, drain, pause, resume
    ACT = "act"  # release, cancel, resend, replay
    EDIT = "edit"  # send an edited copy; add a code
    AUDIT = "audit"  # see who did and saw what
    PEOPLE = "people"  # let people in, and say what they may


class Role(StrEnum):
    VIEWER = "viewer"
    ANALYST = "analyst"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Right.SEE}),
        Role.ANALYST: frozenset({Right.SEE, Right.READ, Right.TRY, Right.EDIT}),
        Role.OPERATOR: frozenset({Right.SEE, Right.READ, Right.STEER, Right.ACT, Right.EDIT}),
        Role.AUDITOR: frozenset({Right.SEE, Right.AUDIT}),
        Role.ADMIN: frozenset(Right),
    }
)


class Grant(NamedTuple):
    """A role on the channels whose names match `channels`: a name, a pattern like `lab*`, or `*` for all."""

    role: Role
    channels: str = "*"


class Glass(NamedTuple):
    """Broken glass: bodies of the channels that match, until an instant."""

    channels: str
    until: int


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who is known: a person in a session, or a token."""

    name: str  # unique; what the audit trail says
    display: str
    grants: tuple[Grant, ...]
    via: str  # `session` or `token`
    id: str = ""  # of the session or token, for lists and revoking; no secret
    csrf: str = ""  # of a session
    only: frozenset[Right] | None = None  # a token's scope; None: all that the grants give
    only_channels: str = "*"
    glass: tuple[Glass, ...] = ()
    theme: str = ""  # `dark`, `light` or as the system says
    due: str = ""  # what the person must do before anything else: `password`, `totp`

    def may(self, right: Right, channel: str, now: int) -> bool:
        """Whether this right is theirs on `channel` at the instant `now`."""
        if not fnmatchcase(channel, self.only_channels) or (self.only is not None and right not in self.only):
            return False
        if any(right in RIGHTS[grant.role] and fnmatchcase(channel, grant.channels) for grant in self.grants):
            return True
        broken = right is Right.READ and any(fnmatchcase(channel, one.channels) and now < one.until for one in self.glass)
        return broken and self.may(Right.SEE, channel, now)

    def somewhere(self, right: Right) -> bool:
        """Whether this right is theirs on any channel at all."""
        if self.only is not None and right not in self.only:
            return False
        return any(right in RIGHTS[grant.role] for grant in self.grants) or (right is Right.READ and bool(self.glass))

    def everywhere(self, right: Right) -> bool:
        """Whether this right is theirs on every channel, whatever its name."""
        if self.only_channels != "*" or (self.only is not None and right not in self.only):
            return False
        return any(right in RIGHTS[grant.role] and grant.channels == "*" for grant in self.grants)
