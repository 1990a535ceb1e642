"""The sizes of a model. A preset is a frozen dataclass; no other code has sizes in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reference.ablation import Ablation
from reference.errors import PresetError
from reference.names import require_known


@dataclass(frozen=True)
class ClipPreset:
    """A CLIP with a vision transformer and QuickGELU (OpenAI's training)."""

    embed_dim: int = 768
    image_size: int = 336
    patch_size: int = 14
    vision_width: int = 1024
    vision_layers: int = 24
    vision_heads: int = 16
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    context_length: int = 77
    vocab_size: int = 49408


@dataclass(frozen=True)
class UNetPreset:
    """The denoising UNet of Stable Diffusion 1.x, in LDM's terms.

    `attention_levels` is True for levels whose blocks have attention. The middle block always has it.
    """

    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_levels: tuple[bool, ...] = (True, True, True, False)
    num_heads: int = 8
    context_dim: int = 768
    latent_channels: int = 4
    norm_groups: int = 32

    @property
    def time_embed_dim(self) -> int:
        """T, the width of the time embedding."""
        return 4 * self.model_channels


@dataclass(frozen=True)
class VaePreset:
    """The KL autoencoder of Stable Diffusion 1.x."""

    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    latent_channels: int = 4
    norm_groups: int = 32
    scale_factor: float = 0.18215


@dataclass(frozen=True)
class CondStagePreset:
    """Stable Diffusion's text encoder.

    ODISE uses one constant of it, the embedding of "". The official code also runs it on every window. The
    official forward pass of a preset without this encoder omits that run.
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    vocab_size: int = 49408
    max_length: int = 77


@dataclass(frozen=True)
class HeadPreset:
    """Feature projections and the Mask2Former head."""

    projection_dim: int = 512
    conv_dim: int = 256
    mask_dim: int = 256
    hidden_dim: int = 256
    num_heads: int = 8
    enc_layers: int = 6
    dec_layers: int = 9
    enc_feedforward: int = 1024
    dec_feedforward: int = 2048
    num_queries: int = 100


@dataclass(frozen=True)
class Preset:
    """The sizes of a whole model and of its images, with its prompts and labels.

    Attributes:
        kind: "label" or "caption": the supervision, which decides the heads.
        window: side of the square windows of the frozen part, and of its input after resizing.
        short_side, max_side: image size, see `odise_trt.bundle.manifest.ModelSpec`.
        train_labels: name of a vocabulary preset, or the labels themselves with their synonyms.
        category_prompt, clip_prompt: the templates of the texts for the category head and for CLIP. None:
            the name alone.
        alpha, beta: weight of CLIP in the fusion, for categories seen in training and for other categories.
        object_mask_threshold, overlap_threshold: of the panoptic merging, see `postprocess.panoptic`.
        topk_per_image: number of pairs of query and category from which instances are taken.
        ablation: the differences from the paper's model.
    """

    name: str
    kind: str
    clip: ClipPreset = field(default_factory=ClipPreset)
    unet: UNetPreset = field(default_factory=UNetPreset)
    vae: VaePreset = field(default_factory=VaePreset)
    cond_stage: CondStagePreset | None = field(default_factory=CondStagePreset)
    head: HeadPreset = field(default_factory=HeadPreset)
    window: int = 512
    short_side: int = 1024
    max_side: int = 2560
    divisor: int = 64
    train_labels: str | tuple[tuple[str, ...], ...] = "coco"
    category_prompt: str | None = None
    clip_prompt: str = "a photo of a {}."
    alpha: float = 0.3
    beta: float = 0.7
    object_mask_threshold: float = 0.0
    overlap_threshold: float = 0.8
    topk_per_image: int = 100
    ablation: Ablation = field(default_factory=Ablation)

    @property
    def latent_side(self) -> int:
        """Side of the latent of one window. The VAE has one downsampling step less than levels."""
        return self.window // 2 ** (len(self.vae.channel_mult) - 1)

    def with_ablation(self, ablation: Ablation) -> Preset:
        """Return the preset of the ablated model, with the ablation and the weights of both classifiers."""
        if ablation.classifier is None:
            return replace(self, ablation=ablation)
        alpha, beta = ablation.classifier
        return replace(self, ablation=ablation, alpha=alpha, beta=beta)


ODISE_LABEL = Preset(name="odise-label", kind="label")
ODISE_CAPTION = Preset(
    name="odise-caption", kind="caption", category_prompt="a photo of a {}.", alpha=0.35, beta=0.65
)

GOLDEN_LABEL = Preset(
    name="golden-label",
    kind="label",
    clip=ClipPreset(
        embed_dim=64,
        image_size=84,
        vision_width=128,
        vision_layers=3,
        vision_heads=2,
        text_width=128,
        text_layers=2,
        text_heads=2,
    ),
    unet=UNetPreset(model_channels=32, num_heads=4, context_dim=128),
    vae=VaePreset(channels=32),
    cond_stage=CondStagePreset(width=128, layers=2, heads=2),
    head=HeadPreset(
        projection_dim=128,
        conv_dim=64,
        mask_dim=64,
        hidden_dim=64,
        num_heads=4,
        enc_layers=2,
        dec_layers=3,
        enc_feedforward=64,
        dec_feedforward=64,
        num_queries=12,
    ),
    train_labels=(("person", "people"), ("car", "automobile", "vehicle"), ("sky",), ("tree", "trees")),
    topk_per_image=20,
)
GOLDEN_CAPTION = replace(
    GOLDEN_LABEL,
    name="golden-caption",
    kind="caption",
    category_prompt="a photo of a {}.",
    alpha=0.35,
    beta=0.65,
)

#: The labels of the demo model's mask head: one word per category of the scenes, without the novel category.
#: Its CLIP has read the other words in captions, and the novel category too, see `reference.demo`.
DEMO_TRAIN_LABELS = tuple(
    (name,)
    for name in (
        *("sky", "cloud", "mountain", "grass", "sand", "snow", "water", "road", "fence", "sun", "house"),
        *("tree", "car", "boat", "ball", "person", "flower", "bird", "rock"),
    )
)

# The widths are chosen for a fraction of a second per image on two CPU cores. The demo model has every part
# of the real model, windows too: a square image has four.
DEMO = Preset(
    name="demo",
    kind="label",
    clip=ClipPreset(
        embed_dim=64,
        image_size=168,
        vision_width=128,
        vision_layers=4,
        vision_heads=2,
        text_width=64,
        text_layers=3,
        text_heads=1,
    ),
    unet=UNetPreset(model_channels=32, channel_mult=(1, 2, 2, 3), num_heads=4, context_dim=64),
    vae=VaePreset(channels=16, norm_groups=16),
    cond_stage=None,
    head=HeadPreset(
        projection_dim=128,
        conv_dim=64,
        mask_dim=64,
        hidden_dim=64,
        num_heads=4,
        enc_layers=2,
        dec_layers=3,
        enc_feedforward=128,
        dec_feedforward=128,
        num_queries=32,
    ),
    window=128,
    short_side=256,
    max_side=640,
    train_labels=DEMO_TRAIN_LABELS,
    topk_per_image=32,
)

DEMO_CAPTION = replace(
    DEMO, name="demo-caption", kind="caption", category_prompt="a photo of a {}.", alpha=0.35, beta=0.65
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (ODISE_LABEL, ODISE_CAPTION, DEMO, DEMO_CAPTION, GOLDEN_LABEL, GOLDEN_CAPTION)
}


def find_preset(preset: Preset | str) -> Preset:
    """Find a preset by its name. A preset is returned unchanged.

    Raises:
        PresetError: there is no preset of that name.
    """
    if isinstance(preset, Preset):
        return preset
    require_known(preset, PRESETS, "preset", PresetError)
    return PRESETS[preset]
