"""The licences of what a converted file is made of, for its header."""

from __future__ import annotations

#: Role of a source -> licence. A converted file is under all of them.
LICENCES = {
    "odise": "CC BY-NC-SA 4.0 (weights of ODISE, non-commercial)",
    "stable_diffusion": "CreativeML Open RAIL-M (Stable Diffusion, with restrictions of use)",
    "clip": "MIT (CLIP)",
}
