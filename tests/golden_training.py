"""A golden training step, and the reference on it: losses, matches and gradients.

The format is that of `tests.golden_case`, and `images_uint8`, `gt_masks_packed`, `gt_classes` and, for
captions, the words drawn (`words_json`); `randNNN` are the random points in the order they were drawn;
`loss.X` is weighted, `unweighted.X` is not; `grad.X` is a gradient, `grad_norms` are the norms of all those
in `grad_names_json`; `matchLL_bB` has the queries and the segments matched in image B by prediction LL, the
last prediction first. `wN.` holds window N of both images.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from reference.losses import Batch, LossConfig, Supervision, Target, supervise
from reference.model import ODISE
from reference.model.open_vocabulary import prompted
from reference.oracle import Way, trace
from tests.golden_outputs import NEVER, WHOLE, Output, Statistics, Values

#: Largest difference of a gradient, in terms of its largest element, and of the norm of one.
GRADIENT_TOLERANCE = 1e-3
#: What a step is run on, and the points that came of the draws, of which the losses are proof enough.
INPUTS = re.compile(r"images_uint8|gt_\w+|words_json|rand\d+|points\d+|grad_names_json")


@dataclass(frozen=True)
class Gradient:
    """The gradient of a parameter."""

    tolerance: ClassVar[float] = GRADIENT_TOLERANCE
    values: np.ndarray

    def distance(self, ours: Gradient) -> float:
        """The largest difference, in terms of the largest element."""
        if ours.values.shape != self.values.shape:
            return NEVER
        return float(np.abs(ours.values - self.values).max() / np.abs(self.values).max())


class GradientStatistics(Statistics):
    """Statistics of a whole gradient."""

    tolerance: ClassVar[float] = GRADIENT_TOLERANCE


@dataclass(frozen=True)
class Pairs:
    """Queries and the segments they were matched with, (2, M)."""

    tolerance: ClassVar[float] = 0.0
    values: np.ndarray

    def distance(self, ours: Pairs) -> float:
        """Zero if they are the same."""
        return 0.0 if np.array_equal(ours.values, self.values) else NEVER


class Replay:
    """The random numbers of a file, in order; see `reference.losses.Draws`."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._uniform = [torch.from_numpy(arrays[name]) for name in sorted(arrays) if name[:4] == "rand"]
        self._words = json.loads(str(arrays["words_json"])) if "words_json" in arrays else []

    def uniform(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """The next numbers, which must be as many as were drawn then."""
        numbers = self._uniform.pop(0)
        if tuple(numbers.shape) != tuple(shape):
            raise ValueError(f"asked for {tuple(shape)} random numbers, recorded are {tuple(numbers.shape)}")
        return numbers.to(device)

    def words(self, words: Sequence[str], count: int) -> tuple[str, ...]:
        """The words of the next image."""
        drawn = tuple(self._words.pop(0))
        if len(drawn) != count or not set(drawn) <= set(words):
            raise ValueError(f"asked for {count} of {words}, recorded are {drawn}")
        return drawn

    @property
    def left(self) -> int:
        """How many draws nobody has asked for."""
        return len(self._uniform) + len(self._words)


class TrainingRun:
    """One step of the reference: `taps` as in `reference.oracle.trace`, losses and gradients."""

    def __init__(
        self,
        taps: dict[str, Tensor],
        step: Supervision,
        gradients: dict[str, Tensor],
        frozen: Sequence[Tensor],
    ) -> None:
        self.taps, self.step, self.gradients = taps, step, gradients
        self.frozen_norm = _norm(frozen)


class TrainingCase:
    """One file.

    Attributes:
        kind: "label" or "caption".
        arrays: everything in the file.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.kind = "caption" if "words_json" in arrays else "label"

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a file is a training step."""
        with np.load(path, allow_pickle=False) as file:
            return "grad_norms" in file.files

    @classmethod
    def load(cls, path: Path) -> TrainingCase:
        """Read a file."""
        with np.load(path, allow_pickle=False) as file:
            return cls({name: file[name] for name in file.files})

    @property
    def batch(self) -> Batch:
        """The images and their truth."""
        shape = self.arrays["gt_masks_shape"]
        bits = np.unpackbits(self.arrays["gt_masks_packed"], count=int(shape.prod()))
        masks = torch.from_numpy(bits.reshape(shape).astype(bool))
        classes = torch.from_numpy(self.arrays["gt_classes"])
        words = json.loads(str(self.arrays.get("words_json", "null"))) or [()] * len(masks)
        targets = map(Target, masks, classes, (tuple(dict.fromkeys(drawn)) for drawn in words))
        return Batch(torch.from_numpy(self.arrays["images_uint8"]), tuple(targets))

    @property
    def config(self) -> LossConfig:
        """The paper's, on as many points as were drawn for a match."""
        return LossConfig(num_points=self.arrays["rand000"].shape[1], checkpointing=False)

    @cached_property
    def gradient_names(self) -> list[str]:
        """All trainable parameters, in the order of `grad_norms`."""
        return json.loads(str(self.arrays["grad_names_json"]))

    def run(self, model: ODISE, way: Way, dtype: torch.dtype = torch.float32) -> TrainingRun:
        """One step. `model` is not changed, nor are its gradients."""
        model = copy.deepcopy(model).to(dtype)
        model.backbone.diffusion.unet.requires_grad_(True)
        # No decoded picture is recorded. The blocks behind the last feature would take a third of the time.
        decoder = model.backbone.diffusion.vae.decoder
        decoder.up_blocks = decoder.up_blocks[:2]
        decoder.conv_norm_out = decoder.conv_out = torch.nn.Identity()
        parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        batch, draws, taps = self.batch, Replay(self.arrays), dict[str, Tensor]()
        padded = model.pad(batch.images.to(dtype) / 255)
        pyramid = trace.features_of(way)(model.backbone, padded, taps)
        step = supervise(model, pyramid, batch, draws, self.config)
        if draws.left:
            raise ValueError(f"{draws.left} recorded draws were not asked for")
        total = torch.stack(list(step.losses.values())).sum()
        gradients = dict(
            zip(
                parameters, torch.autograd.grad(total, [*parameters.values()], allow_unused=True), strict=True
            )
        )
        with torch.no_grad():
            trace.traced_head(model.mask_head, pyramid, way == "official", taps)
            self._record_texts(model, taps)
        taps["padded_image_shape"] = torch.tensor(padded.shape)
        taps["loss_total"] = total
        frozen = [gradients.pop(name) for name in parameters if name.startswith("backbone.diffusion.unet.")]
        used = {name: value for name, value in gradients.items() if value is not None}
        return TrainingRun(self._joined(taps), step, used, [x for x in frozen if x is not None])

    def recorded(self) -> dict[str, Output]:
        """The outputs in the file. Whole-tensor statistics stand under the name with `WHOLE`."""
        outputs: dict[str, Output] = {}
        for name, values in self.arrays.items():
            kept, _, mark = name.partition("__")
            if INPUTS.fullmatch(kept) or mark in ("shape", "stride"):
                continue
            if mark == "stats":
                kind = GradientStatistics if name.startswith("grad.") else Statistics
                outputs[kept + WHOLE] = kind(values, math.prod(self._sizes(kept)))
            elif name == "grad_norms":
                outputs |= {
                    f"grad_norm.{parameter}": Gradient(value)
                    for parameter, value in zip(self.gradient_names, values, strict=True)
                }
            elif name.startswith("grad"):
                outputs[name] = Gradient(values)
            elif name.startswith("match"):
                outputs[name] = Pairs(values)
            else:
                outputs[name] = Values(values, self._sizes(name))
        return outputs

    def computed(self, run: TrainingRun) -> dict[str, Output]:
        """The same outputs of a run, as far as there are any."""
        losses = {f"loss.{name}": value for name, value in run.step.losses.items()}
        unweighted = {f"unweighted.{name}": value for name, value in run.step.unweighted.items()}
        outputs: dict[str, Output] = {}
        for name, tensor in (run.taps | losses | unweighted).items():
            outputs[name] = Values(self._thinned(name, tensor), tuple(tensor.shape))
            outputs[name + WHOLE] = Statistics(_statistics(tensor), tensor.numel())
        for name, tensor in run.gradients.items():
            outputs[f"grad.{name}"] = Gradient(self._thinned(f"grad.{name}", tensor))
            outputs[f"grad.{name}{WHOLE}"] = GradientStatistics(_statistics(tensor), tensor.numel())
            outputs[f"grad_norm.{name}"] = Gradient(_norm([tensor]))
        outputs["grad_norm_trainable_total"] = Gradient(_norm(list(run.gradients.values())))
        outputs["grad_norm_frozen_unet_total"] = Gradient(run.frozen_norm)
        for prediction, matches in enumerate(run.step.matches):
            for image, pairs in enumerate(matches):
                outputs[f"match{prediction:02d}_b{image}"] = Pairs(torch.stack(pairs).numpy())
        return outputs

    def _record_texts(self, model: ODISE, taps: dict[str, Tensor]) -> None:
        embed = model._embed
        if self.kind == "label":
            names = prompted(model.train_labels, model.preset.category_prompt)
            taps["category_head.text_embed_train_clip"], _ = embed(names)
            # The official decoder of label models answers "object" for every query, to be overwritten.
            placeholder = torch.ones(*taps["decoder.mask_embed"].shape[:2], len(model.train_labels) + 1)
            placeholder[..., -1] = 0
            for name in [name for name in taps if re.fullmatch(r"decoder\..*mask_embed", name)]:
                taps[name.replace("mask_embed", "pred_logits")] = placeholder
        else:
            drawn = json.loads(str(self.arrays["words_json"]))
            _, text_embed = embed(prompted(drawn, model.preset.category_prompt))
            taps["word_head.word_embed"] = text_embed.unflatten(0, (len(drawn), -1))

    def _joined(self, taps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Windows of the same place side by side, as in the file; `oracle.trace` numbers all."""
        images = len(self.arrays["images_uint8"])
        numbered = [re.fullmatch(r"w(\d+)\.(.+)", name) for name in taps]
        numbers = {int(match[1]) for match in numbered if match}
        places = len(numbers) // images
        joined = {name: tap for name, tap in taps.items() if not re.match(r"w\d+\.", name)}
        for name in {match[2] for match in numbered if match}:
            for place in range(places):
                parts = [taps[f"w{image * places + place}.{name}"] for image in range(images)]
                # The only scalar is a sum over all pixels.
                joined[f"w{place}.{name}"] = torch.cat(parts) if parts[0].ndim else torch.stack(parts).sum()
        return joined

    def _sizes(self, name: str) -> tuple[int, ...]:
        shape = self.arrays.get(f"{name}__shape")
        return self.arrays[name].shape if shape is None else tuple(int(size) for size in shape)

    def _thinned(self, name: str, tensor: Tensor) -> np.ndarray:
        stride = int(self.arrays.get(f"{name}__stride", 1))
        kept = tensor[..., ::stride, ::stride] if stride > 1 else tensor
        return kept.detach().numpy()


def _norm(tensors: Sequence[Tensor]) -> np.ndarray:
    return np.array(math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors)))


def _statistics(tensor: Tensor) -> np.ndarray:
    x: Any = tensor.detach().double()
    deviation = x.std() if x.numel() > 1 else 0.0
    return np.array([float(value) for value in (x.mean(), deviation, x.min(), x.max(), x.norm())])
