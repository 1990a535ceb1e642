"""The names of feature maps, and which of them a request gets."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import FeatureError

#: Raw features in the order in which the diffusion model returns them: the encoder of the autoencoder, the
#: UNet (un8 is the input of its output block 8), the decoder of the autoencoder.
RAW = ("enc5", "enc7", "un2", "un5", "un8", "un11", "dec2", "dec5")
#: The projected pyramid, as the mask head takes it.
PROJECTED = ("s2", "s3", "s4", "s5")
#: The optional stage of a bundle that gives the raw features.
RAW_STAGE = "raw_features"
#: Number of diffusion steps.
STEPS = 1000


def requested(
    names: str | Iterable[str] | None, time_step: int, *, caption: str = "implicit", raw: bool = True
) -> tuple[str, ...]:
    """Return the names of the requested feature maps, each once.

    Args:
        names: one name, or several. None: all that there are at this step and with this caption.
        time_step: the diffusion step.
        caption: what the UNet is told, "implicit" or "empty".
        raw: whether raw features are at hand. It decides what None means, and nothing else.

    Raises:
        FeatureError: a name does not exist, none is given, or projected features are requested at another
            step than 0 or with another caption than the implicit one.
    """
    check_step(time_step)
    if names is None:
        trained = time_step == 0 and caption == "implicit"
        return (RAW if raw or not trained else ()) + (PROJECTED if trained else ())
    given = tuple(dict.fromkeys((names,) if isinstance(names, str) else names))
    unknown = [name for name in given if name not in RAW + PROJECTED]
    if unknown or not given:
        raise FeatureError(
            f"there is no feature {', '.join(map(repr, unknown or ['']))}",
            f"features: {', '.join(RAW + PROJECTED)}",
        )
    projected = ", ".join(name for name in given if name in PROJECTED)
    if projected and time_step != 0:
        raise FeatureError(
            f"there is no {projected} at time step {time_step}: the projections are trained at step 0",
            f"leave the time step out, or take raw features: {', '.join(RAW)}",
        )
    if projected and caption != "implicit":
        raise FeatureError(
            f"there is no {projected} with the {caption} caption: the projections are trained with the"
            " implicit one",
            f"leave the caption out, or take raw features: {', '.join(RAW)}",
        )
    return given


def check_step(time_step: int) -> None:
    """Raise FeatureError unless this is a diffusion step.

    Raises:
        FeatureError: it is no whole number from 0 to 999.
    """
    whole = isinstance(time_step, int) and not isinstance(time_step, bool)
    if not whole or not 0 <= time_step < STEPS:
        raise FeatureError(f"time step {time_step!r:.40} does not exist", f"give one from 0 to {STEPS - 1}")
