"""The challenge's table -> posts: every row becomes a Post, or a Rejected that says why; none gets lost."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from reprlib import repr as short
from typing import Any, cast, get_args

from m3l.config import IngestConfig
from m3l.data.id_hash import Seen
from m3l.data.records import Post, Record, Split
from m3l.tables.media_column import read_media
from m3l.tables.read import UNREAD, Row, TableError, read_table
from m3l.tables.splits import draw_split

__all__ = ["Deduplicator", "Rejected", "TableError", "check_columns", "parse_row", "read_table"]

COLUMNS = {  # ours -> as tables spell it, the first one that is there
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
YEARS = range(1970, 2262)  # what a timestamp in nanoseconds, as pandas reads it, can hold
MAX_RAW = 2000

_CONTROL = "".join(map(chr, [*range(9), 11, 12, *range(14, 32), 127]))  # NUL and its kind, not white space
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*", re.ASCII)
_LIKES = re.compile(r"([+-]?)(\d{1,18})(?:\.0*)?", re.ASCII)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")  # a word of a list that was written as text


class Rejected(Record):
    """A row that is no post: its number in the table, its id where it has one, why, and the row as JSON."""

    row: int
    id: str | None
    reason: str
    raw: str


def check_columns(names: Iterable[str], lacks: Collection[str] = ()) -> None:
    """Raises TableError, in one line, where columns are missing or two of them are the same.

    Columns that the table `lacks` need not be there, and must not be.
    """
    names = [name for name in names if name != UNREAD]
    found = "found " + (", ".join(map(repr, names[:40])) or "none")
    counts = Counter(map(_spelled, names))
    known = [name for spellings in COLUMNS.values() for name in spellings]
    if twice := [name for name in known if counts[name] > 1]:
        raise TableError(f"more than one column {twice[0]!r}: {found}")
    columns = _columns(tuple(names))
    if here := [repr(name) for name in lacks if name in columns]:
        raise TableError(f"ingest.lacks names column {', '.join(here)}, which is there: {found}")
    missing = [repr(name) for name in REQUIRED if name not in columns and name not in lacks]
    if not columns.keys() & {"likes", "content"}:
        missing.append("'likes' or 'content'")
    if missing:
        raise TableError(f"missing column {', '.join(missing)}: {found}")


def parse_row(row: Row, row_number: int, config: IngestConfig, seed: int = 0) -> Post | Rejected:
    """The post of one row of `read_table`, or why it is none; raises nothing, whatever the cells hold."""
    try:
        return _post(row, row_number, config, seed)
    except ValueError as error:
        return _rejected(row, row_number, str(error))


class Deduplicator:
    """Lets the first post of every id through and rejects the others; remembers 8 bytes of hash per id."""

    def __init__(self) -> None:
        self._seen = Seen()

    def admit(self, parsed: Post | Rejected, row: Row, row_number: int) -> Post | Rejected:
        """What `parse_row` made of a row, or its rejection where an earlier post has that id."""
        if isinstance(parsed, Rejected):
            return parsed
        return parsed if self._seen.add(parsed.post_id) else _rejected(row, row_number, "duplicate id")


def _post(row: Row, row_number: int, config: IngestConfig, seed: int) -> Post:
    if UNREAD in row:
        raise ValueError(f"bad row: {row[UNREAD]}")
    cells = {ours: row[theirs] for ours, theirs in _columns(tuple(row)).items() if ours not in config.lacks}
    post_id = str(row_number) if "id" in config.lacks else _id(cells)
    username, caption = _text(cells, "username").strip(), _text(cells, "content")
    if not post_id.strip():
        raise ValueError("no id")
    if not username:
        raise ValueError("no username")
    caption = caption if caption.strip() else ""
    likes, split = _likes(cells), _text(cells, "split").strip()
    if split and split not in get_args(Split):
        raise ValueError(f"bad split: {short(split)}")
    posted_at = None if "date" in config.lacks else _date(cells)
    if not split and likes is not None:  # without them a post can train nothing
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
    """Our name of each known column -> the table's."""
    spelled = {_spelled(name): name for name in names}
    found = {ours: [spelled[s] for s in spellings if s in spelled] for ours, spellings in COLUMNS.items()}
    return {ours: theirs[0] for ours, theirs in found.items() if theirs}


def _spelled(name: object) -> str:
    return str(name).strip().lower()


def _id(cells: Row) -> str:
    value = cells.get("id")
    if isinstance(value, float) and abs(value) >= 2**53:
        raise ValueError(f"bad id: {value!r} has lost digits, store ids as text")
    return _text(cells, "id")


def _text(cells: Row, name: str) -> str:
    """A cell as text without control characters around it: whole numbers have no `.0`, no cell is ''."""
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
    """A list of words, or one that was written as text, each word once; other text as it stands."""
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
    """The moment in UTC, in milliseconds as it is stored; a time without an offset is UTC."""
    value = cells.get("date")
    text = value.isoformat() if isinstance(value, date) and not _absent(value) else _text(cells, "date").strip()
    if not text:
        raise ValueError("no date")
    try:
        moment = datetime.fromisoformat(text) if _DATE.fullmatch(text) else None
        moment = moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.year not in YEARS:
        raise ValueError(f"bad date: {text[:40]!r}")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _rejected(row: Row, row_number: int, reason: str) -> Rejected:
    try:
        raw = json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError):  # no JSON can hold it; its number still leads to it
        raw = ""
    try:
        post_id = _text({"id": row.get(_columns(tuple(row)).get("id", "id"))}, "id") or None
    except ValueError:
        post_id = None
    return Rejected(row=row_number, id=post_id, reason=_utf8(reason[:200]), raw=_utf8(raw[:MAX_RAW]))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
