import json
import random
import time
from itertools import permutations

import pytest

from m3l.tables.media_column import read_media

PHOTO = (
    "Photo(previewUrl='https://pbs.twimg.com/media/E{n}?format=jpg&name=small', "
    "fullUrl='https://pbs.twimg.com/media/E{n}?format=jpg&name=large')"
)
ROOT = "https://video.twimg.com/ext_tw_video/1/pu"


def mp4(size: str, bitrate: object, root: str = f"{ROOT}/vid") -> str:
    return f"VideoVariant(contentType='video/mp4', url='{root}/{size}/a.mp4?tag=12', bitrate={bitrate})"


PLAYLIST = f"VideoVariant(contentType='application/x-mpegURL', url='{ROOT}/pl/a.m3u8?tag=12', bitrate=None)"
VARIANTS = [mp4("480x270", 288000), mp4("640x360", 832000), mp4("1280x720", 2176000), PLAYLIST]
GIF = (
    "Gif(thumbnailUrl='https://pbs.twimg.com/tweet_video_thumb/E.jpg', variants=[VideoVariant("
    "contentType='video/mp4', url='https://video.twimg.com/tweet_video/E.mp4', bitrate=0)])"
)


def video(variants: "list[str] | tuple[str, ...]" = VARIANTS, rest: str = "duration=65.432, views=572671") -> str:
    return f"Video(thumbnailUrl='https://pbs.twimg.com/media/E.jpg', variants=[{', '.join(variants)}], {rest})"


def test_photos_have_their_full_and_preview_urls() -> None:
    media = read_media("[" + ", ".join(PHOTO.format(n=n) for n in range(4)) + "]")
    assert [m.kind for m in media] == ["image"] * 4
    assert media[3].url == "https://pbs.twimg.com/media/E3?format=jpg&name=large"
    assert media[3].thumbnail_url == "https://pbs.twimg.com/media/E3?format=jpg&name=small"
    assert media[3].duration_s is None


def test_a_playlist_is_never_chosen_wherever_it_is_listed() -> None:
    for order in permutations(VARIANTS):
        (media,) = read_media(f"[{video(order)}]")
        assert media.url == f"{ROOT}/vid/640x360/a.mp4?tag=12"
        assert (media.kind, media.duration_s) == ("video", 65.432)
        assert media.thumbnail_url == "https://pbs.twimg.com/media/E.jpg"


def test_views_are_never_read() -> None:
    assert read_media(f"[{video(rest='duration=1.0, views=None')}]") == read_media(f"[{video(rest='duration=1.0')}]")
    assert "572671" not in repr(read_media(f"[{video()}]"))


def test_a_gif_has_no_duration() -> None:
    (media,) = read_media(f"[{GIF}]")
    assert (media.kind, media.url, media.duration_s) == (
        "gif",
        "https://video.twimg.com/tweet_video/E.mp4",
        None,
    )


def test_mixed_albums_alt_texts_and_any_order_of_arguments() -> None:
    photo = "Photo(altText=\"it's [a] (cat)\", fullUrl='https://x/a.jpg', previewUrl='https://x/b.jpg')"
    text = f"[{video(rest='views=None, duration=9.0, altText=None')}, {photo}, {GIF}]"
    assert [m.kind for m in read_media(text)] == ["video", "image", "gif"]


@pytest.mark.parametrize(
    ("variants", "height", "chosen"),
    [
        ([mp4("320x270", 1), mp4("640x450", 2)], 360, "640x450"),  # a tie goes to the higher bitrate
        ([mp4("320x568", 632000), mp4("720x1280", 2176000)], 1000, "720x1280"),  # upright: H, not W
        ([mp4("low", 256000), mp4("best", 2176000), mp4("huge", 10368000)], 360, "best"),
        ([mp4("huge", 10368000), mp4("large", 8768000)], 360, "large"),
        ([mp4("untold", None), mp4("640x360", None)], 720, "640x360"),
    ],
)
def test_the_variant_is_the_one_nearest_the_height(variants: list[str], height: int, chosen: str) -> None:
    (media,) = read_media(f"[{video(variants)}]", height)
    assert f"/{chosen}/" in media.url


def test_an_item_without_a_playable_variant_is_left_out() -> None:
    assert read_media(f"[{video([PLAYLIST])}]") == ()
    assert [m.kind for m in read_media(f"[{video([PLAYLIST])}, {PHOTO}]")] == ["image"]
    disguised = f"VideoVariant(contentType='video/mp4', url='{ROOT}/pl/a.m3u8?tag=12', bitrate=1)"
    assert read_media(f"[{video([disguised])}]") == ()


@pytest.mark.parametrize("cell", [None, "", "  ", "[]", [], "None", "null", "https://x/playlist.m3u8"])
def test_an_empty_cell_has_no_media(cell: object) -> None:
    assert read_media(cell) == ()


def test_json_objects_are_read_like_the_string() -> None:
    variants = [
        {"contentType": "application/x-mpegURL", "url": f"{ROOT}/pl/a.m3u8", "bitrate": None},
        {
            "contentType": "video/mp4",
            "url": f"{ROOT}/vid/640x360/a.mp4?tag=12",
            "bitrate": 832000.0,
            "_type": None,
        },
    ]
    clip = {
        "thumbnailUrl": "https://pbs.twimg.com/media/E.jpg",
        "variants": variants,
        "duration": 65.432,
        "views": 9,
    }
    expected = read_media(f"[{video()}]")
    for named in ({"_type": "snscrape.modules.twitter.Video"}, {"type": "video", "fullUrl": None}, {}):
        items = [named | clip]
        assert read_media(items) == read_media(json.dumps(items)) == read_media(repr(items)) == expected
    (photo,) = read_media([{"type": "photo", "fullUrl": "https://x/a.jpg", "views": 3}])
    assert (photo.kind, photo.url) == ("image", "https://x/a.jpg")


@pytest.mark.parametrize(
    "cell", ["a.jpg https://x/b.GIF?c=1", "a.jpg, https://x/b.GIF?c=1", '["a.jpg", "https://x/b.GIF?c=1"]']
)
def test_the_extension_of_a_plain_url_decides_its_kind(cell: str) -> None:
    assert [(m.kind, m.url) for m in read_media(cell)] == [("image", "a.jpg"), ("gif", "https://x/b.GIF?c=1")]
    assert read_media("https://pbs.twimg.com/media/E?format=jpg&name=large")[0].kind == "image"
    assert read_media(["clip.mp4"])[0].kind == "video"


@pytest.mark.parametrize(
    "cell",
    [
        "jpg",
        "__import__('os').system('true')",
        "[Photo(fullUrl=open('a.jpg'))]",
        "[Photo(fullUrl='a' + '.jpg')]",
        "[Photo(fullUrl=f'{1}.jpg')]",
        "[Photo('https://x/a.jpg')]",
        "[Photo(**{'fullUrl': 'a.jpg'})]",
        "[Photo(fullUrl='a.jpg', fullUrl='b.jpg')]",
        "[Photo(fullUrl='a.jpg', likes=3)]",
        "[Photo(fullUrl=b'a.jpg')]",
        "[Photo(previewUrl=None)]",
        "[Photo(fullUrl='a\\x00.jpg')]",
        "[Photo(fullUrl='a\\ud800.jpg')]",
        "[Poll(options=['a'])]",
        f"[{mp4('640x360', 1)}]",
        "[Video(variants=[Photo(fullUrl='a.jpg')])]",
        "[Video(variants='abc')]",
        f"[{video(rest='duration=-1')}]",
        f"[{video(rest='duration=[]')}]",
        "[x.jpg for x in y]",
        "[None]",
        "[7]",
        "{'_type': ['Photo']}",
        "a caption, not media",
        "https://x/page",
        "https://[x/a.jpg",
        "[" * 50 + "]" * 50,
        "[" * 5000,
        "[" + "-" * 50_000 + "1]",
        "Photo" + "()" * 40_000,
        "[" + "1+" * 40_000 + "1]",
        f"[Photo(fullUrl='{'a' * 200_000}.jpg')]",
        json.dumps(["a.jpg"] * 65),
        b"a.jpg",
        3.5,
    ],
)
def test_anything_else_is_a_value_error(cell: object) -> None:
    with pytest.raises(ValueError) as error:
        read_media(cell)
    assert len(str(error.value)) < 300


def test_mutated_strings_are_read_or_rejected_in_bounded_time() -> None:
    dice = random.Random(7)
    whole = [
        f"[{video()}, {PHOTO}, {GIF}]",
        json.dumps([{"type": "photo", "fullUrl": "https://x/a.jpg"}]),
        "a.jpg b.mp4",
    ]
    alphabet = "[](){}'\"\\,=.:-+#* \n\0\ud800\u2028é0123456789abcNone"
    started, read = time.monotonic(), 0
    for _ in range(3000):
        text = list(dice.choice(whole))
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(text) + 1)
            match dice.randrange(4):
                case 0:
                    text[at : at + dice.randint(1, 30)] = []
                case 1:
                    text[at:at] = dice.choices(alphabet, k=dice.randint(1, 4))
                case 2:
                    text[at:at] = text[at : at + dice.randint(1, 60)] * dice.randint(1, 20)
                case 3:
                    text[at : at + 1] = dice.choice(alphabet)
        try:
            media = read_media("".join(text))
        except ValueError:
            continue
        read += 1
        assert all(m.url.encode() and "m3u8" not in m.url for m in media)
    assert read > 100
    assert time.monotonic() - started < 30
