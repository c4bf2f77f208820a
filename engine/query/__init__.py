"""Searching: the language in which people ask, and finding what they asked for. The same in terminal, console and API."""

from engine.query.completion import Completion, completions
from engine.query.finding import Found, Texts, check_names, every, find, queries
from engine.query.language import FLAGS, KEYS, MOST_VALUES, STATES, QueryError, Search, Term, listing, message_id, parse

__all__ = [
    "FLAGS",
    "KEYS",
    "MOST_VALUES",
    "STATES",
    "Completion",
    "Found",
    "QueryError",
    "Search",
    "Term",
    "Texts",
    "check_names",
    "completions",
    "every",
    "find",
    "listing",
    "message_id",
    "parse",
    "queries",
]
