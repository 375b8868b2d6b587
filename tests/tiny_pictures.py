"""A text-to-image pipeline of random weights, made here: the parts of Stable Diffusion, a few thousand numbers each."""

import json
import re
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, ImageChops
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from engine.methods.base import INSTRUCTIONS
from engine.pictures import LEAD
from studies.wish import SCENES

ROUNDING = 1
TEXTS = " ".join((*SCENES, LEAD, INSTRUCTIONS["picture"])).lower()
WORDS = sorted(set(re.findall("[a-z]+", TEXTS)))


def make_pipeline(folder: Path) -> Path:
    """Save it where diffusers can load it; pictures of 64 by 64."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    tokenizer = make_tokenizer(folder / "words")
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(16, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=8,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            block_out_channels=(16, 32),
            layers_per_block=1,
            sample_size=32,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
        ),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer of letters, in which the words of prompts are a few pieces each, as in a real one."""
    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    merges = []
    for word in WORDS:
        *first, last = word
        parts = [*first, f"{last}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts[:2] = [parts[0] + parts[1]]
            words.append(parts[0])
    words = list(dict.fromkeys([*words, "<|startoftext|>", "<|endoftext|>"]))
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *dict.fromkeys(merges)]) + "\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def apart(first: bytes, second: bytes) -> int:
    """By how much two pictures differ where they differ most, of 255: one painted again may be off by rounding."""
    apart = ImageChops.difference(*(Image.open(BytesIO(png)) for png in (first, second)))
    return max(high for _, high in apart.getextrema())
