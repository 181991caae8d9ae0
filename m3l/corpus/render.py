"""Draws and encodes storyboards; the same clip gives the same bytes."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import av
from PIL import Image, ImageEnhance

from m3l.corpus.drawings import scene, sticker, trim
from m3l.corpus.storyboard import Clip, Shot, Sprite

FADE_S = 0.4

_Point = tuple[float, float]


def encode(clip: Clip) -> bytes:
    """The bytes of the clip's file: JPEG, GIF, or H.264 in MP4."""
    match clip.kind:
        case "image":
            return _jpeg(next(pictures(clip)))
        case "gif":
            return _gif(list(pictures(clip)), clip.fps)
        case "video":
            return _mp4(pictures(clip), clip)


def pictures(clip: Clip) -> Iterator[Image.Image]:
    """The frames of the clip in order, as RGB pictures of its size."""
    stages = [_stage(clip, shot) for shot in clip.shots]
    starts = [0, *accumulate(shot.frames for shot in clip.shots)]
    for number, stage in enumerate(stages):
        for frame in range(starts[number], starts[number + 1]):
            picture = stage.at(frame - starts[number])
            # Shots last a second or more, so a frame is never inside two fades.
            for other in (number, number + 1):
                if other < len(stages) and stages[other].fades:
                    weight = (frame + 0.5 - starts[other]) / (FADE_S * clip.fps) + 0.5
                    if 0 < weight < 1:
                        before, after = (stages[n].at(frame - starts[n]) for n in (other - 1, other))
                        picture = Image.blend(before, after, weight)
            yield picture


@dataclass(frozen=True)
class _Stage:
    """A shot whose backdrop and sprites are drawn, so that a frame only pastes them."""

    backdrop: Image.Image
    sprites: list[tuple[Image.Image, _Point, _Point]]
    frames: int
    fades: bool

    def at(self, frame: int) -> Image.Image:
        """The picture of a frame; sprites stand still before the first and after the last frame."""
        progress = min(max(frame / max(self.frames - 1, 1), 0), 1)
        picture = self.backdrop.copy()
        for drawing, (x0, y0), (x1, y1) in self.sprites:
            place = (round(x0 + (x1 - x0) * progress), round(y0 + (y1 - y0) * progress))
            picture.paste(drawing, place, drawing)
        return picture


def _stage(clip: Clip, shot: Shot) -> _Stage:
    photograph, (x, y) = scene(clip.scene), shot.crop
    left, top = round(x * (photograph.width - clip.width)), round(y * (photograph.height - clip.height))
    backdrop = photograph.crop((left, top, left + clip.width, top + clip.height))
    backdrop = ImageEnhance.Brightness(backdrop).enhance(shot.brightness)
    return _Stage(backdrop, [_placed(clip, sprite) for sprite in shot.sprites], shot.frames, shot.fades)


def _placed(clip: Clip, sprite: Sprite) -> tuple[Image.Image, _Point, _Point]:
    """A rotated and scaled sprite with the start and end of its path in pixels, fully inside the frame."""
    turned = trim(sticker(sprite.name).rotate(sprite.angle, Image.Resampling.BILINEAR, expand=True))
    scale = sprite.size * min(clip.width, clip.height) / max(turned.size)
    size = (max(1, round(turned.width * scale)), max(1, round(turned.height * scale)))
    room_x, room_y = clip.width - size[0], clip.height - size[1]
    start, end = ((x * room_x, y * room_y) for x, y in (sprite.start, sprite.end))
    return turned.resize(size, Image.Resampling.BOX), start, end


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def _gif(frames: list[Image.Image], fps: int) -> bytes:
    # One palette for all frames: the colours hardly change.
    palette = frames[0].quantize(256, Image.Quantize.FASTOCTREE)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=1000 // fps, loop=0)
    return file.getvalue()


def _mp4(frames: Iterator[Image.Image], clip: Clip) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        # Without B-frames time starts at 0; with one thread the bytes never depend on the machine's cores.
        options = {"preset": "ultrafast", "crf": "26", "threads": "1", "bf": "0"}
        stream = container.add_stream("libx264", rate=clip.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    return file.getvalue()
