"""Katna's choice of key frames, by Katna's own ImageSelector on scores that are computed once per frame."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float64
from Katna.image_selector import ImageSelector
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

from m3l.media.entropy import local_entropy
from m3l.media.sample import Frame, fill


class Score(NamedTuple):
    """All that Katna looks at in one frame."""

    brightness: float  # mean HSV value, 0 to 100
    entropy: float  # mean local entropy, bits
    sharpness: float  # variance of the Laplacian
    histogram: Float64[np.ndarray, "256"]  # of grey values


class Selector(ImageSelector):
    """Katna's selector, reading Scores where it read pictures.

    The relaxation rounds are its own, and so is the index bug: which member of a cluster is sharpest is
    told by the first frames of the list instead of the members.
    """

    def select(self, scores: Sequence[Score], wanted: int) -> list[int]:
        """Indices of at most `wanted` frames, in the order of clusters."""
        position = {id(score): index for index, score in enumerate(scores)}
        with _threads().limit(limits=1), warnings.catch_warnings():  # several threads give other ties
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct histograms than clusters
            return [position[id(score)] for score in self.select_best_frames(list(scores), wanted)]

    def __filter_optimum_brightness_and_contrast_images__(self, scores: list[Score]) -> list[Score]:
        return [
            score
            for score in scores
            if self.min_brightness_value < score.brightness < self.max_brightness_value
            and self.min_entropy_value < score.entropy < self.max_entropy_value
        ]

    def __prepare_cluster_sets__(self, scores: list[Score]) -> list[Any]:
        histograms = np.array([score.histogram for score in scores])
        labels = KMeans(n_clusters=self.nb_clusters, random_state=0).fit(histograms).labels_
        clusters = [np.where(labels == cluster) for cluster in range(self.nb_clusters)]
        return [members for members in clusters if len(members[0])]  # Katna stops at an empty one

    def _ImageSelector__get_laplacian_scores(self, scores: list[Score], positions: Sequence[int]) -> list[float]:
        return [scores[position].sharpness for position in positions]


class CorrectSelector(Selector):
    """Katna's selector without the index bug: the sharpest frame of each cluster."""

    def __get_best_images_index_from_each_cluster__(self, scores: list[Score], clusters: list[Any]) -> list[int]:
        return [max(members, key=lambda member: scores[member].sharpness) for (members,) in clusters]


def distil(scores: Sequence[Score], wanted: int, katna_compatible: bool = False) -> list[int]:
    """Indices of the key frames in time order.

    `katna_compatible` keeps the index bug, and Katna's number of frames unless that is none. Else frames at
    regular distances fill up what is missing to `wanted`.
    """
    chosen = (Selector() if katna_compatible else CorrectSelector()).select(scores, wanted)
    if chosen and katna_compatible:
        return sorted(chosen)
    return fill(chosen, len(scores), wanted)


def score(frame: Frame, katna_compatible: bool = False) -> Score:
    """The scores of one frame at its full size; `katna_compatible` takes Katna's own, slow functions."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    if katna_compatible:
        katna, picture = ImageSelector(), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        brightness = float(katna.__get_brightness_score__(picture))
        entropy = float(katna.__get_entropy_score__(picture))
        sharpness = float(katna.__variance_of_laplacian__(grey))
    else:
        red, green, blue = cv2.split(frame)
        brightness = cv2.mean(cv2.max(cv2.max(red, green), blue))[0] / 2.55
        entropy = local_entropy(grey)
        edges = cv2.Laplacian(grey, cv2.CV_16S)
        # The variance as E[x^2] - E[x]^2: exact in integers, and a tenth of the work of cv2.meanStdDev.
        sharpness = cv2.norm(edges, cv2.NORM_L2SQR) / edges.size - cv2.mean(edges)[0] ** 2
    histogram = cv2.calcHist([grey], [0], None, [256], [0, 256]).reshape(256).astype(np.float64)
    return Score(brightness, entropy, sharpness, histogram)


@cache  # finding the loaded thread pools takes longer than limiting them
def _threads() -> ThreadpoolController:
    return ThreadpoolController()
