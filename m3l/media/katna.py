"""Key frames by the rules of the Katna library, applied to scores that are computed once for each frame.

Katna's own `ImageSelector` runs on these scores: it relaxes its thresholds until enough frames pass the filters for
brightness and entropy, clusters their histograms, and takes one frame of each cluster.
"""

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
from m3l.media.sample import Frame, fill_evenly


class FrameScores(NamedTuple):
    """Everything that Katna computes from a frame."""

    brightness: float  # mean HSV value, 0 to 100
    entropy: float  # mean local entropy, bits
    sharpness: float  # variance of the Laplacian
    histogram: Float64[np.ndarray, "256"]  # pixels of each grey level


class KatnaSelector(ImageSelector):
    """Katna's selector on scores instead of pictures, with Katna's index bug.

    The bug: Katna picks the sharpest frame of a cluster by the sharpness of the first frames of the list, not by that
    of the cluster's members. The methods with unusual names override Katna's own.
    """

    def select(self, scores: Sequence[FrameScores], max_frames: int) -> list[int]:
        """Indices of the selected frames, ordered by cluster, not by time.

        Args:
            scores: One for each frame, in time order.
            max_frames: The most to select; Katna may select fewer, even none.
        """
        position = {id(each): index for index, each in enumerate(scores)}
        with _thread_pools().limit(limits=1), warnings.catch_warnings():  # more threads would break ties differently
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct histograms than clusters
            return [position[id(each)] for each in self.select_best_frames(list(scores), max_frames)]

    def __filter_optimum_brightness_and_contrast_images__(self, scores: list[FrameScores]) -> list[FrameScores]:
        return [
            each
            for each in scores
            if self.min_brightness_value < each.brightness < self.max_brightness_value
            and self.min_entropy_value < each.entropy < self.max_entropy_value
        ]

    def __prepare_cluster_sets__(self, scores: list[FrameScores]) -> list[Any]:
        histograms = np.array([each.histogram for each in scores])
        labels = KMeans(n_clusters=self.nb_clusters, random_state=0).fit(histograms).labels_
        clusters = [np.where(labels == cluster) for cluster in range(self.nb_clusters)]
        return [members for members in clusters if len(members[0])]  # Katna would stop at the first empty cluster

    def _ImageSelector__get_laplacian_scores(self, scores: list[FrameScores], positions: Sequence[int]) -> list[float]:
        return [scores[position].sharpness for position in positions]


class SharpestSelector(KatnaSelector):
    """Katna's selector without the index bug: it takes the sharpest frame of each cluster."""

    def __get_best_images_index_from_each_cluster__(self, scores: list[FrameScores], clusters: list[Any]) -> list[int]:
        return [max(members, key=lambda member: scores[member].sharpness) for (members,) in clusters]


def select_key_frames(scores: Sequence[FrameScores], max_frames: int, katna_compatible: bool = False) -> list[int]:
    """Indices of the key frames, in time order.

    Args:
        scores: One for each frame, in time order.
        max_frames: The number of key frames; all frames if there are fewer.
        katna_compatible: Keep Katna's index bug, and the number of frames that Katna selects unless that is 0.
            Otherwise, evenly spaced frames make up for what is missing to `max_frames`.
    """
    selected = (KatnaSelector() if katna_compatible else SharpestSelector()).select(scores, max_frames)
    if selected and katna_compatible:
        return sorted(selected)
    return fill_evenly(selected, len(scores), max_frames)


def score_frame(frame: Frame, katna_compatible: bool = False) -> FrameScores:
    """The scores of one frame at its full size.

    Args:
        frame: RGB.
        katna_compatible: Use Katna's own functions, which are slow, instead of the fast approximations.
    """
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
    return FrameScores(brightness, entropy, sharpness, histogram)


@cache  # finding the loaded thread pools takes longer than limiting them
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()
