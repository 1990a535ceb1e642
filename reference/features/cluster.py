"""The regions of a photo with similar features: k-means over the places of a feature map."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.cluster.vq import kmeans2, vq

from odise_trt.errors import FeatureError

#: Number of places from which k-means computes its centres. Every other place gets the nearest centre.
SAMPLE = 20_000
#: Number of starts of k-means, of which the best is kept, and of rounds per start.
STARTS, ROUNDS = 4, 30


def cluster(values: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    """Group the places of a feature map by k-means (k-means++ starts, Euclidean distance).

    Args:
        values: float32 (h, w, channels).
        clusters: number of groups, at least 2.
        seed: seed of the starts.

    Returns:
        int32 (h, w), the number of the group. The largest group is 0.

    Raises:
        FeatureError: fewer places than groups, or values that are all equal or not finite.
    """
    height, width, channels = values.shape
    places = np.ascontiguousarray(values.reshape(-1, channels), dtype=np.float32)
    if not 2 <= clusters <= len(places):
        raise FeatureError(
            f"{clusters} clusters cannot be made of {len(places)} places",
            f"give a number from 2 to {len(places)}, or a finer feature",
        )
    if not np.isfinite(places).all():
        raise FeatureError("the features are not finite", "the weights are damaged: load or train them again")
    rng = np.random.default_rng(seed)
    sample = places if len(places) <= SAMPLE else places[rng.choice(len(places), SAMPLE, replace=False)]
    if len(np.unique(sample, axis=0)) < clusters:
        raise FeatureError(
            f"the features are alike all over the photo: there are no {clusters} clusters",
            "give a photo with something in it, or a finer feature",
        )
    best, closest = None, np.inf
    for _ in range(STARTS):
        with warnings.catch_warnings():
            # If a cluster of one start becomes empty, another start will be better.
            warnings.filterwarnings("ignore", message="One of the clusters is empty")
            centres, _ = kmeans2(sample, clusters, iter=ROUNDS, minit="++", rng=rng)
        distance = float(np.square(vq(sample, centres)[1]).sum())
        if distance < closest:
            best, closest = centres, distance
    labels = vq(places, best)[0]
    order = np.argsort(-np.bincount(labels, minlength=clusters), kind="stable")
    rank = np.empty(clusters, dtype=np.int32)
    rank[order] = np.arange(clusters)
    return rank[labels].reshape(height, width)
