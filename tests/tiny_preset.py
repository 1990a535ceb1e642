"""The sizes of a model so small that a training step takes a fraction of a second."""

from __future__ import annotations

from reference.preset import ClipPreset, HeadPreset, Preset, UNetPreset, VaePreset

TINY = Preset(
    name="tiny",
    kind="label",
    clip=ClipPreset(
        embed_dim=32,
        image_size=28,
        vision_width=64,
        vision_layers=1,
        vision_heads=1,
        text_width=32,
        text_layers=1,
        text_heads=1,
    ),
    unet=UNetPreset(model_channels=32, channel_mult=(1, 1, 1, 1), num_heads=2, context_dim=32),
    vae=VaePreset(channels=16, channel_mult=(1, 1, 1, 1), norm_groups=16),
    cond_stage=None,
    head=HeadPreset(
        projection_dim=128,
        conv_dim=32,
        mask_dim=32,
        hidden_dim=32,
        num_heads=2,
        enc_layers=1,
        dec_layers=3,
        enc_feedforward=32,
        dec_feedforward=32,
        num_queries=8,
    ),
    window=128,
    short_side=128,
    max_side=256,
    train_labels=(("shape",), ("ground", "floor")),
)
