"""Models of a few thousand random weights, and packages around them, made on the spot."""

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

HIDDEN, LAYERS, HEADS, KV_HEADS, MIDDLE = 64, 2, 4, 2, 96
END, START = "<|im_end|>", "<|im_start|>"
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] + '<|im_end|>' }}{% endfor %}"


def vocabulary() -> list[str]:
    return [START, END, "<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "hel"]


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """By GGUF name."""
    random = np.random.default_rng(seed)
    shapes = {"token_embd.weight": (len(vocabulary()), HIDDEN), "output_norm.weight": (HIDDEN,)}
    kv = HIDDEN * KV_HEADS // HEADS
    for layer in range(LAYERS):
        block = {
            "attn_q": (HIDDEN, HIDDEN),
            "attn_k": (kv, HIDDEN),
            "attn_v": (kv, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN),
            "ffn_gate": (MIDDLE, HIDDEN),
            "ffn_up": (MIDDLE, HIDDEN),
            "ffn_down": (HIDDEN, MIDDLE),
            "attn_norm": (HIDDEN,),
            "ffn_norm": (HIDDEN,),
        }
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_gguf(
    path: Path,
    matrices: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q4_1,
    seed: int = 0,
    architecture: str = "llama",
) -> Path:
    """Linear layers in `matrices`, the embedding in Q8_0, norms in float32, as llama.cpp does it."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(MIDDLE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(vocabulary()))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary())
    writer.add_token_types([3, 3, 3] + [1] * (len(vocabulary()) - 3))
    writer.add_token_merges(["h e", "he l"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)
    for name, values in weights(seed).items():
        kind = gguf.GGMLQuantizationType.F32
        if values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0 if name == "token_embd.weight" else matrices
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_folder(path: Path, seed: int = 0) -> Path:
    """A model hub's layout: config, tokenizer, safetensors."""
    path.mkdir(parents=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "dtype": "float32", "hidden_size": HIDDEN}
    (path / "config.json").write_text(json.dumps(config))
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": 1}))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": END}))
    tokenizer = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate(vocabulary())}, merges=[]))
    tokenizer.save(str(path / "tokenizer.json"))
    generator = torch.Generator().manual_seed(seed)
    save_file({"weight": torch.randn(8, 8, generator=generator)}, path / "model.safetensors")
    return path


def folder_members(folder: Path, prefix: str) -> dict[str, bytes]:
    return {f"{prefix}{file.name}": file.read_bytes() for file in sorted(folder.iterdir())}


def wheel(name: str, version: str, members: Mapping[Any, bytes]) -> tuple[str, bytes]:
    """Its file name and its bytes."""
    module = name.replace("-", "_")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        about = f"{module}-{version}.dist-info"
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"{module}-{version}-py3-none-any.whl", buffer.getvalue()


def tarball(members: Mapping[Any, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, content in members.items():
            item = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
