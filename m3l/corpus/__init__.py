"""A synthetic corpus whose truth is known: who is shown when, and what every like is made of."""

from m3l.corpus.effects import Formula
from m3l.corpus.truth import TRUTH, named_in, on_screen
from m3l.corpus.world import MadePost, World

__all__ = ["TRUTH", "Formula", "MadePost", "World", "named_in", "on_screen"]
