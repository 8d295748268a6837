"""Child process: a GGUF file becomes config, tokenizer and safetensors. Weights in Q4_1 keep their four bits.

Dense tensors are float32, bit for bit what transformers reads from the file, as long as they are small together;
beyond that matrices are halved to float16 (bfloat16 where the file has it, or where float16 would overflow).
"""

import sys
from pathlib import Path
from typing import Any

import gguf
import torch
from huggingface_hub import save_torch_state_dict
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from service.models.errors import ModelsError, UnsupportedModel
from service.models.fetch import require_space
from service.models.prepare import Facts
from service.models.prepare.blocks import BLOCK, Q4, find_q4
from service.models.prepare.report import report_error, report_facts, report_step

EXACT_BYTES = 512 << 20  # dense float32 up to here; the default model's embedding takes 113 MB of it
WIDE_BYTES = 8 << 30  # what the float32 weights of a model may take in memory while it is converted
SHARD_BYTES = "4GB"

READABLE = 0o644  # safetensors writes for its owner alone; a cache may be shared

Tensors = dict[str, torch.Tensor]


def main() -> None:
    try:
        report_facts(convert(Path(sys.argv[1]), Path(sys.argv[2])))
    except ModelsError as error:
        report_error(error.message)
    except (NotImplementedError, ValueError, KeyError, OSError) as error:  # what transformers raises on odd files
        report_error(f"the GGUF file cannot be converted: {error}")


def convert(source: Path, destination: Path) -> Facts:
    reader = gguf.GGUFReader(source)
    report_step("reading the tokenizer")
    config = AutoConfig.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, config=config)
    tokenizer.save_pretrained(destination)
    report_step("reading the weights")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    dense = read_dense(source, model, reader)
    report_step("packing the weights")
    packed = pack(reader, model, dense)
    shrink(dense, reader)
    tensors = dense | {key: value for name, blocks in packed.items() for key, value in blocks.tensors(name).items()}
    save_config(config, model, reader, dense, destination)
    report_step("writing the weights")
    require_space(destination, sum(tensor.nbytes for tensor in tensors.values()), "the prepared model")
    save_torch_state_dict(tensors, destination, max_shard_size=SHARD_BYTES)
    for file in destination.glob("*.safetensors"):
        file.chmod(READABLE)
    return Facts("q4_1" if packed else None, str(config.dtype).removeprefix("torch."))


def read_dense(source: Path, model: Any, reader: Any) -> Tensors:
    """Every weight of the model, dequantised by transformers. One that is missing makes the model unusable."""
    wide = sum(int(tensor.n_elements) for tensor in reader.tensors) * torch.float32.itemsize <= WIDE_BYTES
    tensors: Tensors = load_gguf_checkpoint(
        str(source), return_tensors=True, model_to_load=model, torch_dtype=torch.float32 if wide else half(reader)
    )["tensors"]
    wanted = {name for name, _ in model.named_parameters()}
    if missing := sorted(wanted - set(tensors)):
        raise UnsupportedModel(f"{len(missing)} weights have no counterpart in the GGUF file, such as {missing[0]}")
    wrong = [name for name, value in model.named_parameters() if value.shape != tensors[name].shape]
    if wrong:
        raise UnsupportedModel(f"{wrong[0]} has another shape in the GGUF file than in the model")
    return tensors


def half(reader: Any) -> torch.dtype:
    has_bfloat16 = any(tensor.tensor_type == gguf.GGMLQuantizationType.BF16 for tensor in reader.tensors)
    return torch.bfloat16 if has_bfloat16 else torch.float16


def pack(reader: Any, model: Any, dense: Tensors) -> dict[str, Q4]:
    """Takes the linear weights that the file holds as Q4_1, and that match exactly, out of `dense`."""
    names = linear_names(model, reader)
    config = model.config
    heads = tuple({getattr(config, key, None) or 0 for key in ("num_attention_heads", "num_key_value_heads")} - {0})
    packed = {}
    for tensor in reader.tensors:
        name = names.get(tensor.name)
        if tensor.tensor_type != gguf.GGMLQuantizationType.Q4_1 or name not in dense or dense[name].shape[1] % BLOCK:
            continue
        if (blocks := find_q4(tensor.data, dense[name], heads)) is not None:
            packed[name] = blocks
            del dense[name]
    return packed


def linear_names(model: Any, reader: Any) -> dict[str, str]:
    """The file's names of the weights of linear layers, each with the model's."""
    architecture = reader.get_field("general.architecture").contents()
    known = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in known:
        return {}
    names = gguf.get_tensor_name_map(known[architecture], model.config.num_hidden_layers)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    return {f"{names.get_name(name)}.weight": f"{name}.weight" for name in linear if names.get_name(name)}


def shrink(dense: Tensors, reader: Any) -> None:
    """Halves the matrices of a model whose dense part is large. Vectors (norms, biases) stay as they are."""
    if sum(tensor.nbytes for tensor in dense.values()) <= EXACT_BYTES:
        return
    dtype = half(reader)
    for name, tensor in dense.items():
        if tensor.ndim < 2 or tensor.dtype != torch.float32:
            continue
        narrow = tensor.to(dtype)
        dense[name] = narrow if bool(torch.isfinite(narrow).all()) else tensor.to(torch.bfloat16)


def save_config(config: Any, model: Any, reader: Any, dense: Tensors, destination: Path) -> None:
    config.architectures = [type(model).__name__]
    config.dtype = max((tensor for tensor in dense.values()), key=lambda tensor: tensor.nbytes).dtype
    ends = end_ids(config, reader)
    if ends:
        config.eos_token_id = ends if len(ends) > 1 else ends[0]
    config.save_pretrained(destination)
    GenerationConfig.from_model_config(config).save_pretrained(destination)


def end_ids(config: Any, reader: Any) -> list[int]:
    """What ends an answer: the end of the text, and the end of a turn where the file names one besides."""
    stated = config.eos_token_id
    ids = list(stated) if isinstance(stated, list) else [] if stated is None else [stated]
    for key in ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"):
        field = reader.get_field(key)
        if field is not None and int(field.contents()) not in ids:
            ids.append(int(field.contents()))
    return ids


if __name__ == "__main__":
    main()
