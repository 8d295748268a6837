"""Tiny random models of many families, written to a folder as a prepared model is. No hub, no download."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2MoeConfig,
    Qwen3Config,
)

VOCABULARY = 320
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
SHARED = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
SMALL = SHARED | {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
WINDOW = {"sliding_window": 48}

FAMILIES: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**SMALL),
    "qwen3": lambda: Qwen3Config(**SMALL),
    "gemma3": lambda: Gemma3TextConfig(**SMALL, **WINDOW, query_pre_attn_scalar=16),
    "gemma2": lambda: Gemma2Config(**SMALL, **WINDOW, query_pre_attn_scalar=16),
    "phi3": lambda: Phi3Config(**SMALL),
    "mistral": lambda: MistralConfig(**SMALL, **WINDOW),
    "gpt2": lambda: GPT2Config(**SHARED, n_embd=64, n_layer=3, n_head=4, n_positions=4096),
    "gpt_neox": lambda: GPTNeoXConfig(**SMALL),
    "qwen2_moe": lambda: Qwen2MoeConfig(**SMALL, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
    "bloom": lambda: BloomConfig(**SHARED, hidden_size=64, n_layer=3, n_head=4),
}


PROMPT_LENGTHS = (1, 2, 5, 31, 32, 33, 60, 100, 129, 300)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on a few lines: every byte is a token, so random models speak broken UTF-8 too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["the river runs to the sea", "a stone in the water", "here and there"] * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", chat_template=TEMPLATE
    )


def make_model(folder: Path, family: str = "llama", seed: int = 0) -> Path:
    """Weights ten times wider than usual, so that the logits differ clearly and greedy texts are not one token."""
    torch.manual_seed(seed)
    config = FAMILIES[family]()
    config.initializer_range = 0.2
    model = AutoModelForCausalLM.from_config(config).eval()
    model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    (folder / "headwater.json").write_text(json.dumps({"format": 1, "name": family, "version": "0" * 12}))
    return folder
