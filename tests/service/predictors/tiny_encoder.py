"""A random encoder in the layout of sentence-transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "pump", "seal", "valve", "price", "of", "the", "##s", ".", ":", "query"]
MAX_TOKENS = 12


def write_encoder(folder: Path, pooling: str = "mean_tokens", more: Mapping[str, Any] | None = None) -> Path:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        dtype="float32",
    )
    BertModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in MODULES]
    files = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": 24, f"pooling_mode_{pooling}": True},
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS},
        **(more or {}),
    }
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece(vocab={word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=16)  # as published ones have: it must not decide anything here
    tokenizer.enable_truncation(5)
    tokenizer.save(str(folder / "tokenizer.json"))
