"""The paper's ablations as configuration: what of a model is left out or done another way.

    ablation = Ablation.parse(captioner="empty", timesteps="0+100+200")
    model = ODISE(PRESETS["odise-label"].with_ablation(ablation))

`Ablation()` is the paper's model. `Ablation.parse` reads the words of a command line,
`reference.model.ablations.ablate` changes a model that has weights; `docs/ablations.md` has the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from odise_trt.errors import ExportError
from reference.errors import AblationError
from reference.noise_schedule import STEPS

CaptionerKind = Literal["implicit", "empty", "given"]
FeatureKind = Literal["diffusion", "clip"]
ClipMasks = Literal["pool", "crop", "crop-masked"]

#: `Ablation.time_steps` of a model that learns its step.
LEARNABLE: Literal["learnable"] = "learnable"
_CLASSIFIERS = {"both": None, "diffusion": (0.0, 0.0), "discriminative": (1.0, 1.0)}


@dataclass(frozen=True)
class Ablation:
    """What differs from the paper's model; nothing, by default.

    Attributes:
        captioner: what conditions the UNet. "implicit": CLIP's view of the window. "empty": the caption "".
            "given": the captions that come with the images, see `reference.model.ablations.given_captions`.
        time_steps: the diffusion steps whose features are read, in [0, 999], joined along channels if there
            is more than one; or "learnable", one step that is trained, see `ablations.time_steps`.
        classifier: weights of CLIP in the fusion, for categories seen in training and for the others; None:
            the preset's alpha and beta.
        clip_masks: how CLIP looks at a mask. "pool": mask tokens, all in one pass. "crop": the mask's
            bounding box, a pass for each. "crop-masked": the same with the background taken out.
        features: "diffusion", or "clip": four depths of CLIP's vision transformer instead.
    """

    captioner: CaptionerKind = "implicit"
    time_steps: tuple[int, ...] | Literal["learnable"] = (0,)
    classifier: tuple[float, float] | None = None
    clip_masks: ClipMasks = "pool"
    features: FeatureKind = "diffusion"

    def __post_init__(self) -> None:
        _one_of("captioner", self.captioner, get_args(CaptionerKind))
        _one_of("clip_masks", self.clip_masks, get_args(ClipMasks))
        _one_of("features", self.features, get_args(FeatureKind))
        steps = self.time_steps
        if steps != LEARNABLE and (
            not steps or len(set(steps)) < len(steps) or not all(0 <= step < STEPS for step in steps)
        ):
            raise AblationError(
                f"time steps {steps} cannot be read", f"give different steps from 0 to {STEPS - 1}"
            )
        if self.classifier is not None and not all(0 <= weight <= 1 for weight in self.classifier):
            raise AblationError(
                f"classifier weights {self.classifier} are not in [0, 1]", "lambda is from 0 to 1"
            )
        if self.features == "clip" and (self.captioner != "implicit" or steps != (0,)):
            raise AblationError(
                "features of CLIP have neither captioner nor time steps", "leave those options out"
            )

    @classmethod
    def parse(
        cls,
        *,
        captioner: str = "implicit",
        timesteps: str = "0",
        classifier: str = "both",
        clip_masks: str = "pool",
        features: str = "diffusion",
    ) -> Ablation:
        """From the words of a command line.

        Args:
            captioner: "implicit", "empty" or "given".
            timesteps: "0", "100", ..., several joined by "+" ("0+100+200"), or "learnable".
            classifier: "both", "diffusion", "discriminative", or the paper's lambda in [0, 1], the weight
                of the diffusion classifier: one number, or two, "SEEN,UNSEEN".
            clip_masks: "pool", "crop" or "crop-masked".
            features: "diffusion" or "clip".

        Raises:
            AblationError: a word that means nothing, or options that exclude each other.
        """
        steps = LEARNABLE if timesteps == LEARNABLE else _steps(timesteps)
        # The dataclass checks the words.
        return cls(captioner, steps, _clip_weights(classifier), clip_masks, features)  # type: ignore[arg-type]

    @property
    def runs(self) -> int:
        """How many times the UNet runs for a window, and its features are widened."""
        return 1 if self.time_steps == LEARNABLE else len(self.time_steps)

    @property
    def is_paper(self) -> bool:
        """The stages are those of the paper's model; only the weights of the classifiers may differ."""
        return replace(self, classifier=None) == Ablation()

    def refuse(self, what: str) -> None:
        """Raise if `what` is for the paper's model alone and this is another.

        Raises:
            AblationError
        """
        if not self.is_paper:
            raise AblationError(
                f"{what} an ablated model ({self.summary()})", "only the classifier may differ"
            )

    def refuse_export(self) -> None:
        """Raise unless the stages of this model are those that are exported.

        Raises:
            ExportError
        """
        if not self.is_paper:
            raise ExportError(
                f"an ablated model ({self.summary()}) has no engines",
                "run it with the reference; only an ablated classifier can be exported",
            )

    def summary(self) -> str:
        """What differs, as the options of a command line; "the paper's model" if nothing does."""
        default, words = Ablation(), []
        if self.captioner != default.captioner:
            words.append(f"--captioner {self.captioner}")
        if self.time_steps != default.time_steps:
            steps = self.time_steps if self.time_steps == LEARNABLE else "+".join(map(str, self.time_steps))
            words.append(f"--timesteps {steps}")
        if self.classifier is not None:
            words.append("--classifier " + ",".join(f"{1 - weight:g}" for weight in self.classifier))
        if self.clip_masks != default.clip_masks:
            words.append(f"--clip-masks {self.clip_masks}")
        if self.features != default.features:
            words.append(f"--features {self.features}")
        return " ".join(words) or "the paper's model"


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise AblationError(f"there is no {name} {value!r}", f"give one of: {', '.join(known)}")


def _steps(text: str) -> tuple[int, ...]:
    parts = text.split("+")
    if not all(part.strip().isdecimal() for part in parts):
        raise AblationError(f"time steps {text!r} cannot be read", "give 0, 0+100+200 or learnable")
    return tuple(int(part) for part in parts)


def _clip_weights(text: str) -> tuple[float, float] | None:
    if text in _CLASSIFIERS:
        return _CLASSIFIERS[text]
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) not in (1, 2) or not all(0 <= weight <= 1 for weight in weights):
        raise AblationError(
            f"classifier {text!r} cannot be read",
            f"give {', '.join(_CLASSIFIERS)}, a number in [0, 1], or two: SEEN,UNSEEN",
        )
    # The paper's lambda weighs diffusion, the code's alpha and beta weigh CLIP.
    return 1 - weights[0], 1 - weights[-1]
