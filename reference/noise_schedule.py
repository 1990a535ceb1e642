"""The noise schedule of Stable Diffusion 1.x (DDPM, arXiv 2006.11239; linear in the square root)."""

from __future__ import annotations

import numpy as np

STEPS = 1000
BETA_FIRST, BETA_LAST = 0.00085, 0.012
#: alphas_cumprod at t = 0, the denoising step of ODISE. Only ablations use other steps.
FIRST_ALPHA_CUMPROD = 1.0 - BETA_FIRST


def alphas_cumprod() -> np.ndarray:
    """Return the share of the signal's variance that remains at every step: (STEPS,) float64."""
    return np.cumprod(1.0 - _betas())


def schedule() -> dict[str, np.ndarray]:
    """Return the constants of an LDM checkpoint by their names there, each (STEPS,) float32."""
    betas = _betas()
    alphas = 1.0 - betas
    kept = np.cumprod(alphas)
    kept_before = np.append(1.0, kept[:-1])
    variance = betas * (1.0 - kept_before) / (1.0 - kept)
    constants = {
        "betas": betas,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": kept_before,
        "sqrt_alphas_cumprod": np.sqrt(kept),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1.0 - kept),
        "log_one_minus_alphas_cumprod": np.log(1.0 - kept),
        "sqrt_recip_alphas_cumprod": np.sqrt(1.0 / kept),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1.0 / kept - 1.0),
        "posterior_variance": variance,
        # The first variance is zero, so its logarithm is clipped.
        "posterior_log_variance_clipped": np.log(np.maximum(variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(kept_before) / (1.0 - kept),
        "posterior_mean_coef2": (1.0 - kept_before) * np.sqrt(alphas) / (1.0 - kept),
    }
    return {name: values.astype(np.float32) for name, values in constants.items()}


def _betas() -> np.ndarray:
    return np.linspace(BETA_FIRST**0.5, BETA_LAST**0.5, STEPS, dtype=np.float64) ** 2
