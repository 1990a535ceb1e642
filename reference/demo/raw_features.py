"""Compute the raw diffusion features of scenes once. An untrained captioner does not change them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from odise_trt.cli.console import output
from odise_trt.cli.progress import followed
from odise_trt.files.writing import write_file
from reference.errors import TrainingError
from reference.model import ODISE
from reference.model.windows import Origin, extract_windows, join

#: Scenes per pass through the frozen part.
_BATCH = 16


@dataclass(frozen=True)
class RawFeatures:
    """The outputs of `Diffusion` for all windows of all scenes of a store.

    Attributes:
        features: float16 (N, W, C, h, w), one per raw feature.
        origins: of the W windows of a scene.
        side: of a scene in pixels.
    """

    features: tuple[np.ndarray, ...]
    origins: list[Origin]
    side: int

    def pyramid(self, model: ODISE, chosen: np.ndarray) -> tuple[Tensor, ...]:
        """Return the feature pyramid (s2, s3, s4, s5) of some scenes, with gradients for the projections.

        Args:
            model: its projections are applied.
            chosen: indices (B,) of the scenes.
        """
        device = model.criterion.empty_weight.device
        raw = tuple(
            torch.from_numpy(feature[chosen]).to(device).flatten(0, 1).float() for feature in self.features
        )
        pyramid = model.backbone.project(raw, model.backbone.window)
        return join(pyramid, self.origins, self.side, self.side)


@torch.no_grad()
def compute(model: ODISE, images: np.ndarray, folder: Path) -> RawFeatures:
    """Return the raw features of scenes. They are computed only if `folder` does not have them yet.

    Args:
        model: its frozen part is used. The captioner counts as untrained: it gives the empty caption.
        images: uint8 (N, S, S, 3).
        folder: keeps the features.

    Raises:
        TrainingError: the folder has features of other weights, or of another number of scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finished = folder / "finished"
    side, backbone = images.shape[1], model.backbone
    silent = backbone.feature_extractor.uncond_inputs
    source = f"{len(images)} scenes, frozen part {_digest(backbone.diffusion, silent)}\n"
    origins = extract_windows(torch.zeros(1, 3, side, side), backbone.window)[1]
    if not finished.is_file():
        files: list[np.memmap] = []
        starts = range(0, len(images), _BATCH)
        for start in followed(starts, f"features of {len(images)} scenes", len(starts), output()):
            planes = torch.from_numpy(np.array(images[start : start + _BATCH])).to(silent.device)
            planes = planes.permute(0, 3, 1, 2).float() / 255
            windows, _ = extract_windows(planes, backbone.window)
            cond_inputs = silent.expand(len(windows), -1, -1)
            cond_emb = torch.zeros(len(windows), model.preset.unet.time_embed_dim, device=silent.device)
            raw = backbone.diffusion(windows, cond_inputs, cond_emb)
            if not files:
                shapes = [(len(images), len(origins), *feature.shape[1:]) for feature in raw]
                files = [
                    np.lib.format.open_memmap(_file(folder, index), "w+", np.float16, shape)
                    for index, shape in enumerate(shapes)
                ]
            for file, feature in zip(files, raw, strict=True):
                file[start : start + _BATCH] = feature.unflatten(0, (len(planes), -1)).half().cpu().numpy()
        for file in files:
            file.flush()
        write_file(finished, source.encode())
    elif finished.read_text() != source:
        raise TrainingError(
            f"{folder} has the features of {finished.read_text().strip()}, not of {source.strip()}",
            "remove that folder, or train into another one",
        )
    count = len(backbone.feature_projections)
    features = tuple(np.load(_file(folder, index), mmap_mode="r") for index in range(count))
    return RawFeatures(features, origins, side)


def _digest(diffusion: nn.Module, silent: Tensor) -> str:
    """Hash all that decides the features, except the scenes."""
    digest = hashlib.sha256()
    for tensor in (*diffusion.state_dict().values(), silent):
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()[:12]


def _file(folder: Path, index: int) -> Path:
    return folder / f"feature{index}.npy"
