"""XML as lines, each element, attribute and text with its path.

Read without DTD, entities and network. A document that declares a type is not read at all, but shown as text: what its
entities would do is of no use to anybody here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from engine.errors import ContentError
from engine.views.lines import Line, Piece, Reading, below, piece

if TYPE_CHECKING:
    from lxml.etree import _Element

_ATTRIBUTES: Final = 50  # of one element that are shown
_DEEPEST: Final = 100


def read(content: bytes, notes: tuple[str, ...]) -> Reading:
    """Raises ContentError where it is no XML, declares a document type, or is nested more than 100 levels deep."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_blank_text=False)
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ContentError(f"is not XML: {error}") from None
    if getattr(root.getroottree().docinfo, "doctype", ""):
        raise ContentError("declares a document type, and is shown as text for that")
    if _deeper(root, _DEEPEST):
        raise ContentError(f"is nested more than {_DEEPEST} levels deep")
    title = f"XML, {_tag(root)[:60]}"
    return Reading("xml", title, lambda start: islice(_lines(root), start, None), notes)


def _deeper(root: _Element, most: int) -> bool:
    from lxml import etree

    depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > most:
            return True
    return False


def _lines(root: _Element) -> Iterator[Line]:
    for number, (depth, pieces) in enumerate(_of(root, f"/{_tag(root)}", 0), 1):
        yield Line(str(number), pieces, "", depth)


def _of(element: _Element, path: str, depth: int) -> Iterator[tuple[int, tuple[Piece, ...]]]:
    from lxml import etree

    if not isinstance(element.tag, str):  # a comment, a processing instruction, or an entity that was not resolved
        yield depth, (piece(etree.tostring(element, encoding="unicode", with_tail=False), role="comment"),)
        return
    start = tuple(_start(element, path))
    text = (element.text or "").strip()
    end = Piece(f"</{_tag(element)}>", path, "", "tag")
    if not len(element):
        if text:
            yield depth, (*start, Piece(">", role="tag"), _text(element.text or "", path), end)
        else:
            yield depth, (*start, Piece("/>", role="tag"))
        return
    yield depth, (*start, Piece(">", role="tag"))
    if text:
        yield depth + 1, (_text(element.text or "", path),)
    totals = Counter(child.tag for child in element if isinstance(child.tag, str))
    seen: Counter[str] = Counter()
    for child in element:
        inner = path
        if isinstance(child.tag, str):
            seen[child.tag] += 1
            number = f"[{seen[child.tag]}]" if totals[child.tag] > 1 else ""
            inner = below(path, f"/{_tag(child)}{number}")
        yield from _of(child, inner, depth + 1)
        if (child.tail or "").strip():
            yield depth + 1, (_text(child.tail or "", path),)
    yield depth, (end,)


def _start(element: _Element, path: str) -> Iterator[Piece]:
    """`<name` with its attributes, and the namespaces it declares."""
    from lxml import etree

    yield Piece(f"<{_tag(element)}", path, "", "tag")
    above = element.getparent()
    outer = {} if above is None else above.nsmap
    for prefix, uri in element.nsmap.items():
        if outer.get(prefix) != uri:
            yield Piece(f' xmlns{f":{prefix}" if prefix else ""}="', role="tag")
            yield piece(uri, role="comment")
            yield Piece('"', role="tag")
    for name, value in islice(element.attrib.items(), _ATTRIBUTES):
        named = etree.QName(str(name))
        prefix = next((short for short, uri in element.nsmap.items() if uri == named.namespace and short), "")
        written = f"{prefix}:{named.localname}" if prefix else named.localname
        yield Piece(f' {written}="', role="tag")
        yield piece(str(value), below(path, f"/@{written}"), "", "text")
        yield Piece('"', role="tag")
    if len(element.attrib) > _ATTRIBUTES:
        yield Piece(f" … {len(element.attrib) - _ATTRIBUTES} attributes more", role="comment")


def _text(text: str, path: str) -> Piece:
    return piece(text.strip(), path, "", "text")


def _tag(element: _Element) -> str:
    from lxml import etree

    name = etree.QName(element).localname
    return f"{element.prefix}:{name}" if element.prefix else name
