"""A table of posts -> records: every row becomes a Post, or a Rejected with the reason; no row is lost."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from reprlib import repr as short
from typing import Any, cast, get_args

from m3l.config import IngestConfig
from m3l.config.time import as_utc
from m3l.data.id_hash import IdSet
from m3l.data.records import Post, Record, Split
from m3l.tables.html_entities import decode_entities
from m3l.tables.media_column import read_media
from m3l.tables.read import DAMAGED, Row, TableError, read_table
from m3l.tables.splits import draw_split

__all__ = ["Deduplicator", "Rejected", "TableError", "check_columns", "parse_row", "read_table"]

COLUMNS = {  # our name -> the names of the column in tables, in order of preference
    "id": ("id",),
    "date": ("date",),
    "username": ("username",),
    "media": ("media",),
    "likes": ("likes",),
    "content": ("content", "caption"),
    "company": ("inferred company", "company"),
    "keywords": ("keywords",),
    "split": ("split",),
}
REQUIRED = ("id", "date", "username", "media")
YEARS = range(1970, 2262)  # the range of a timestamp in nanoseconds, as pandas reads it
MAX_RAW = 2000  # characters of a rejected row that are saved

_CONTROL = "".join(map(chr, [*range(9), 11, 12, *range(14, 32), 127]))  # without tabs and line ends
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*", re.ASCII)
_LIKES = re.compile(r"([+-]?)(\d{1,18})(?:\.0*)?", re.ASCII)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")  # a string of a list that was written as text


class Rejected(Record):
    """A row that is not a post: its number in the table, its id if it has one, the reason, and the row as JSON."""

    row: int
    id: str | None
    reason: str
    raw: str


def check_columns(names: Iterable[str], lacks: Collection[str] = ()) -> None:
    """Check the columns of a table before its rows are read.

    Args:
        names: The table's column names; case and surrounding space do not matter.
        lacks: Required columns that the table does not have, by our names (`ingest.lacks`).

    Raises:
        TableError: A column is missing, stands there twice, or is named in `lacks` but present.
    """
    names = [name for name in names if name != DAMAGED]
    columns_found = "found " + (", ".join(map(repr, names[:40])) or "none")
    counts = Counter(map(_normalise, names))
    names_of_columns = (name for spellings in COLUMNS.values() for name in spellings)
    if twice := [name for name in names_of_columns if counts[name] > 1]:
        raise TableError(f"more than one column {twice[0]!r}: {columns_found}")
    columns = _columns(tuple(names))
    if present := [repr(name) for name in lacks if name in columns]:
        raise TableError(f"ingest.lacks names column {', '.join(present)}, which is there: {columns_found}")
    missing = [repr(name) for name in REQUIRED if name not in columns and name not in lacks]
    if not columns.keys() & {"likes", "content"}:
        missing.append("'likes' or 'content'")
    if missing:
        raise TableError(f"missing column {', '.join(missing)}: {columns_found}")


def parse_row(row: Row, row_number: int, config: IngestConfig, seed: int = 0) -> Post | Rejected:
    """The post of one row of a table, or the reason why it is not a post; never raises, whatever the cells hold.

    HTML entities in the caption are decoded (`&amp;` becomes `&`); ids, names, keywords and URLs are not changed.

    Args:
        row: A row of `read_table`.
        row_number: Its number in the table, which is also its id if the table has none.
        config: How tables become posts.
        seed: Draws the split if the table names none.
    """
    try:
        return _post(row, row_number, config, seed)
    except ValueError as error:
        return _rejected(row, row_number, str(error))


class Deduplicator:
    """Admits the first post of every id and rejects the others; takes 8 bytes of memory for each id."""

    def __init__(self) -> None:
        self._seen = IdSet()

    def admit(self, parsed: Post | Rejected, row: Row, row_number: int) -> Post | Rejected:
        """The parsed row, or its rejection if an earlier post has the same id.

        Args:
            parsed: The result of `parse_row`.
            row: The row that was parsed.
            row_number: Its number in the table.
        """
        if isinstance(parsed, Rejected):
            return parsed
        return parsed if self._seen.add(parsed.post_id) else _rejected(row, row_number, "duplicate id")


def _post(row: Row, row_number: int, config: IngestConfig, seed: int) -> Post:
    if DAMAGED in row:
        raise ValueError(f"bad row: {row[DAMAGED]}")
    cells = {ours: row[theirs] for ours, theirs in _columns(tuple(row)).items() if ours not in config.lacks}
    post_id = str(row_number) if "id" in config.lacks else _id(cells)
    username, caption = _text(cells, "username").strip(), decode_entities(_text(cells, "content"))
    if not post_id.strip():
        raise ValueError("no id")
    if not username:
        raise ValueError("no username")
    caption = caption if caption.strip() else ""
    likes, split = _likes(cells), _text(cells, "split").strip()
    if split and split not in get_args(Split):
        raise ValueError(f"bad split: {short(split)}")
    posted_at = None if "date" in config.lacks else _date(cells)
    if not split and likes is not None:  # without likes, the post is not used for training
        split = draw_split(post_id, username, posted_at, config, seed)
    try:
        media = () if _absent(cells.get("media")) else read_media(cells["media"], config.video_height)
    except ValueError as error:
        raise ValueError(f"bad media: {error}") from None
    return Post(
        post_id=post_id,
        username=username,
        posted_at=posted_at,
        company=_text(cells, "company").strip() or None,
        keywords=_keywords(cells) or None,
        caption=caption or None,
        likes=likes,
        media=media,
        split=cast(Split | None, split or None),
    )


@lru_cache(maxsize=256)
def _columns(names: tuple[str, ...]) -> dict[str, str]:
    """Our name of each column that the table has -> the table's name of it."""
    by_name = {_normalise(name): name for name in names}
    columns = {ours: [by_name[s] for s in spellings if s in by_name] for ours, spellings in COLUMNS.items()}
    return {ours: theirs[0] for ours, theirs in columns.items() if theirs}


def _normalise(name: object) -> str:
    return str(name).strip().lower()


def _id(cells: Row) -> str:
    value = cells.get("id")
    if isinstance(value, float) and abs(value) >= 2**53:
        raise ValueError(f"bad id: {value!r} has lost digits, store ids as text")
    return _text(cells, "id")


def _text(cells: Row, name: str) -> str:
    """A cell as text without surrounding control characters: whole numbers without `.0`, a missing cell as ''."""
    value = cells.get(name)
    if _absent(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"bad {name}: {short(value)}")
    text = str(value).strip(_CONTROL)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"not UTF-8: {name}") from None
    return text


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float | datetime) and value != value)  # NaN and pandas' NaT


def _keywords(cells: Row) -> str:
    """The distinct keywords of a list, of a list that was written as text, or of text with commas."""
    value = cells.get("keywords")
    if isinstance(value, list | tuple):
        value = ", ".join(_text({"keywords": word}, "keywords") for word in value)
    text = _text({"keywords": value}, "keywords").strip()
    words = [single or double for single, double in _QUOTED.findall(text)] if text.startswith("[") else text.split(",")
    return ", ".join(dict.fromkeys(word.strip() for word in words if word.strip()))


def _likes(cells: Row) -> int | None:
    text = _text(cells, "likes").strip()
    if not text:
        return None
    number = _LIKES.fullmatch(text)
    if number is None:
        raise ValueError(f"bad likes: {short(text)}")
    if number[1] == "-" and int(number[2]):
        raise ValueError("negative likes")
    return int(number[2])


def _date(cells: Row) -> datetime:
    """The moment in UTC, rounded down to milliseconds, as it is stored."""
    value = cells.get("date")
    text = value.isoformat() if isinstance(value, date) and not _absent(value) else _text(cells, "date").strip()
    if not text:
        raise ValueError("no date")
    try:
        moment = datetime.fromisoformat(text) if _DATE.fullmatch(text) else None
        moment = moment and as_utc(moment)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.year not in YEARS:
        raise ValueError(f"bad date: {text[:40]!r}")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _rejected(row: Row, row_number: int, reason: str) -> Rejected:
    try:
        raw = json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError):  # JSON cannot hold the row; its number still identifies it
        raw = ""
    try:
        post_id = _text({"id": row.get(_columns(tuple(row)).get("id", "id"))}, "id") or None
    except ValueError:
        post_id = None
    return Rejected(row=row_number, id=post_id, reason=_utf8(reason[:200]), raw=_utf8(raw[:MAX_RAW]))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
