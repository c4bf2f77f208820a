"""What was taken and what was made of it, for many messages at once: read by what translates them anew to compare."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select

from engine.model import GATE, Outgoing
from engine.store.asking import Asking
from engine.store.queueing import read_keys
from engine.store.rows import MessageRow
from engine.store.schema import chunk, content, delivery, destination, name, translation

MOST = 200  # messages of one question
MOST_BYTES = 8 << 20  # content of one slice; a single message may be more


class Produced(NamedTuple):
    """A message with what its latest translation made of it."""

    row: MessageRow
    content: bytes | None  # None where it is no longer kept
    outgoings: tuple[Outgoing, ...]  # without those that somebody had sent again; in the order in which they were recorded
    keys: tuple[tuple[str, str], ...]  # business keys
    whole: bool  # whether the content of every outgoing is still kept


class Producing(Asking):
    """The part of `History` that comparisons are made with."""

    def produced(self, rows: Sequence[MessageRow]) -> Iterator[list[Produced]]:
        """These messages (at most MOST), in slices of about MOST_BYTES, in their order."""
        numbers = [row.id for row in rows]
        found, keys = self._outgoings_of(numbers), self.keys_of(numbers)
        slice_: list[MessageRow] = []
        size = 0
        for row in rows:
            slice_.append(row)
            size += row.size + sum(one[-1] for one in found.get(row.id, ()))
            if size > MOST_BYTES:
                yield self._with_contents(slice_, found, keys)
                slice_, size = [], 0
        if slice_:
            yield self._with_contents(slice_, found, keys)

    def _outgoings_of(self, messages: Collection[int]) -> dict[int, list[Any]]:
        d, t = delivery.c, translation.c
        columns = (
            *(d.message_id, d.route, d.destination, d.content_type, d.identity, d.idempotency_key, d.kind, d.action),
            *(d.order_keys, d.lanes, d.content, d.size),
        )
        own = select(*columns).join(translation, d.id.between(t.first_delivery, t.first_delivery + t.deliveries - 1))
        wanted = own.where(t.message_id.in_(messages), d.resend_of.is_(None)).order_by(d.id)
        found: dict[int, list[Any]] = {}
        for row in self._reader.select(wanted):
            found.setdefault(row[0], []).append(row)
        return found

    def _with_contents(
        self, rows: Sequence[MessageRow], outgoings: dict[int, list[Any]], keys: dict[int, list[tuple[str, str]]]
    ) -> list[Produced]:
        owners = {row.id for row in rows} | {one[-2] for row in rows for one in outgoings.get(row.id, ())}
        contents = self._contents(sorted(owners))
        return [self._produced(row, outgoings.get(row.id, []), keys.get(row.id, []), contents) for row in rows]

    def _produced(self, row: MessageRow, found: list[Any], keys: list[tuple[str, str]], contents: dict[int, bytes]) -> Produced:
        made = []
        for _, route, to, content_type, identity, idempotency_key, kind, action, order_keys, lanes, owner, _ in found:
            standing = tuple(key for key in read_keys(order_keys, lanes) if not key.startswith(GATE))
            made.append(
                Outgoing(
                    self._text(name, route),
                    self._text(destination, to),
                    contents.get(owner, b""),
                    self._text(name, content_type),
                    identity,
                    standing,
                    idempotency_key,
                    kind,
                    action,
                )
            )
        whole = all(one[-2] in contents for one in found)
        return Produced(row, contents.get(row.id), tuple(made), tuple(keys), whole)

    def _contents(self, owners: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, list[bytes]] = {}
        for at in range(0, len(owners), MOST):
            some = owners[at : at + MOST]
            for owner, body in self._reader.select(select(content.c.owner, content.c.content).where(content.c.owner.in_(some))):
                found[owner] = [bytes(body)]
            rest = select(chunk.c.owner, chunk.c.content).where(chunk.c.owner.in_(some)).order_by(chunk.c.owner, chunk.c.n)
            for owner, body in self._reader.select(rest):
                if owner in found:
                    found[owner].append(bytes(body))
        return {owner: b"".join(parts) for owner, parts in found.items()}
