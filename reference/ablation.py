"""The ablations of the paper as configuration: the parts of a model that are removed or replaced.

    ablation = Ablation.parse(captioner="empty", timesteps="0+100+200")
    model = ODISE(PRESETS["odise-label"].with_ablation(ablation))

`Ablation()` is the paper's model. `Ablation.parse` reads the options of a command line.
`reference.model.ablations.ablate` changes a model that has weights. `docs/ablations.md` has a table of all.
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

#: Value of `Ablation.time_steps` for a model that learns its step.
LEARNABLE: Literal["learnable"] = "learnable"
_CLASSIFIERS = {"both": None, "diffusion": (0.0, 0.0), "discriminative": (1.0, 1.0)}


@dataclass(frozen=True)
class Ablation:
    """The differences from the paper's model. Default: none.

    Attributes:
        captioner: the condition of the UNet. "implicit": from CLIP's embedding of the window. "empty": the
            caption "". "given": captions of the images, see `reference.model.ablations.given_captions`.
        time_steps: the diffusion steps whose features are used, in [0, 999]. Several are concatenated along
            channels. Or "learnable": one step that is trained, see `ablations.time_steps`.
        classifier: weights of CLIP in the fusion, for categories seen in training and for other categories.
            None: the preset's alpha and beta.
        clip_masks: how CLIP embeds a mask. "pool": all masks in one pass, by mask tokens. "crop": the
            bounding box of the mask, one pass per mask. "crop-masked": the same without the background.
        features: "diffusion", or "clip": features at four depths of CLIP's vision transformer.
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
        """Make an ablation from the options of a command line.

        Args:
            captioner: "implicit", "empty" or "given".
            timesteps: "0", "100", ..., several joined by "+" ("0+100+200"), or "learnable".
            classifier: "both", "diffusion", "discriminative", or the paper's lambda in [0, 1], the weight
                of the diffusion classifier: one number, or two, "SEEN,UNSEEN".
            clip_masks: "pool", "crop" or "crop-masked".
            features: "diffusion" or "clip".

        Raises:
            AblationError: an unknown value, or options that exclude each other.
        """
        steps = LEARNABLE if timesteps == LEARNABLE else _steps(timesteps)
        # The dataclass checks the words.
        return cls(captioner, steps, _clip_weights(classifier), clip_masks, features)  # type: ignore[arg-type]

    @property
    def runs(self) -> int:
        """Number of runs of the UNet per window; its features have as many times the channels."""
        return 1 if self.time_steps == LEARNABLE else len(self.time_steps)

    @property
    def is_paper(self) -> bool:
        """Whether the stages are those of the paper's model. The weights of the classifiers may differ."""
        return replace(self, classifier=None) == Ablation()

    def refuse(self, what: str) -> None:
        """Raise AblationError unless this is the paper's model; `what` begins the message.

        Raises:
            AblationError
        """
        if not self.is_paper:
            raise AblationError(
                f"{what} an ablated model ({self.summary()})", "only the classifier may differ"
            )

    def refuse_export(self) -> None:
        """Raise ExportError unless the stages of this model can be exported.

        Raises:
            ExportError
        """
        if not self.is_paper:
            raise ExportError(
                f"an ablated model ({self.summary()}) has no engines",
                "run it with the reference; only an ablated classifier can be exported",
            )

    def summary(self) -> str:
        """Return the differences as options of a command line, or "the paper's model" if there are none."""
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
