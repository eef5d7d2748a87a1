"""Searching names: a part of them, in capitals or small letters of any script."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Lowered(FunctionElement[str]):
    """A text in small letters."""

    inherit_cache = True
    type = sa.Text()


@compiles(_Lowered)
def _lowered(element: _Lowered, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(_Lowered, "sqlite")
def _lowered_by_sqlite(element: _Lowered, compiler: SQLCompiler, **options: Any) -> str:
    return f"unicode_lower({compiler.process(element.clauses, **options)})"


def contains(column: sa.ColumnElement[str], words: str) -> sa.ColumnElement[bool]:
    """Whether a text has these words in it; `%` and `_` are signs like any other."""
    if words.isascii():
        return column.icontains(words, autoescape=True)
    return _Lowered(column).contains(words.lower(), autoescape=True)
