"""A GGUF file becomes a prepared folder: the same config, tokens and, to the last bit, the same weights."""

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from service.models.errors import PickledWeights, UnsupportedModel
from service.models.prepare import Facts, prepare
from service.models.prepare.blocks import find_q4, read_q4
from service.models.prepare.gguf import convert
from service.models.progress import SilentProgress
from tests.service.models.tiny import END, HIDDEN, KV_HEADS, LAYERS, vocabulary, write_folder, write_gguf

Q4_1 = gguf.GGMLQuantizationType.Q4_1
# tqdm warns when it is asked for a bar in a process without one
pytestmark = pytest.mark.filterwarnings("ignore::tqdm.TqdmWarning")


def quantized(rows: int, columns: int) -> np.ndarray:
    values = np.random.default_rng(1).standard_normal((rows, columns)).astype(np.float32)
    return np.asarray(gguf.quantize(values, Q4_1))


def unpacked(tensors: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """What an engine does with the storage format, written here once more from its description."""
    codes, scale, minimum = (tensors[f"{name}.{part}"] for part in ("q4", "q4_scale", "q4_min"))
    both = torch.stack([codes & 15, codes >> 4], dim=-1).reshape(codes.shape[0], -1)
    spread = [values.float().repeat_interleave(32, dim=1) for values in (scale, minimum)]
    return both.float() * spread[0] + spread[1]


def reference(path: Path) -> dict[str, torch.Tensor]:
    """The weights as transformers reads them."""
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tensors: dict[str, torch.Tensor] = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)[
        "tensors"
    ]
    return tensors


def test_blocks_give_exactly_what_gguf_dequantises() -> None:
    data = quantized(6, 96)
    expected = torch.from_numpy(gguf.dequantize(data, Q4_1))
    blocks = read_q4(data)
    assert torch.equal(blocks.dequantized(), expected)
    assert torch.equal(unpacked(blocks.tensors("p"), "p"), expected)
    assert {name: (value.dtype, tuple(value.shape)) for name, value in blocks.tensors("p").items()} == {
        "p.q4": (torch.uint8, (6, 48)),
        "p.q4_scale": (torch.float16, (6, 3)),
        "p.q4_min": (torch.float16, (6, 3)),
    }


def test_blocks_are_dropped_when_a_single_weight_differs() -> None:
    data = quantized(8, 32)
    dense = torch.from_numpy(gguf.dequantize(data, Q4_1))
    assert find_q4(data, dense, ()) is not None
    dense[3, 7] += 1e-4
    assert find_q4(data, dense, (2,)) is None
    assert find_q4(data, dense.T.contiguous(), ()) is None


def test_conversion_keeps_every_weight_and_packs_every_linear_layer(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    (tmp_path / "out").mkdir()
    facts = convert(path, tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    expected = reference(path)
    packed = {name.removesuffix(".q4") for name in tensors if name.endswith(".q4")}
    dense = {name for name in tensors if ".q4" not in name}
    assert facts == Facts("q4_1", "float32")
    assert len(packed) == 7 * LAYERS
    assert packed | dense == set(expected)
    for name in packed:
        assert torch.equal(unpacked(tensors, name), expected[name]), name
    for name in dense:
        assert tensors[name].dtype == torch.float32
        assert torch.equal(tensors[name], expected[name]), name


def test_query_and_key_rows_are_put_back_into_the_models_order(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}["blk.0.attn_k.weight"]
    dense = reference(path)["model.layers.0.self_attn.k_proj.weight"]
    assert not torch.equal(read_q4(stored.data).dequantized(), dense)
    assert find_q4(stored.data, dense, ()) is None
    found = find_q4(stored.data, dense, (KV_HEADS,))
    assert found is not None
    assert torch.equal(found.dequantized(), dense)


@pytest.mark.parametrize(
    "matrices", [gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0]
)
def test_other_formats_stay_dense_and_load_with_transformers(
    tmp_path: Path, matrices: gguf.GGMLQuantizationType
) -> None:
    path = write_gguf(tmp_path / "model.gguf", matrices)
    (tmp_path / "out").mkdir()
    assert convert(path, tmp_path / "out") == Facts(None, "float32")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, value in reference(path).items():
        assert torch.equal(model.state_dict()[name], value), name


def test_config_and_tokenizer_say_where_an_answer_ends(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "elsewhere.gguf")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "stranger"}')
    steps: list[str] = []

    class Recorder(SilentProgress):
        def step(self, label: str, total_bytes: int | None = None) -> None:
            steps.append(label)

    out = tmp_path / "prepared"
    assert prepare(path, out, Recorder()).quantization == "q4_1"
    config = json.loads((out / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert (config["architectures"], config["hidden_size"]) == (["LlamaForCausalLM"], HIDDEN)
    assert config["eos_token_id"] == json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 1
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == (END, 1)
    assert tokenizer.decode(tokenizer("hello you")["input_ids"]) == "hello you"
    assert len(tokenizer) == len(vocabulary())
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert text == "<|im_start|>userhi<|im_end|>"
    assert steps == ["reading the tokenizer", "reading the weights", "packing the weights", "writing the weights"]


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\3\4")
    with pytest.raises(UnsupportedModel, match="is no GGUF file"):
        prepare(tmp_path / "model.gguf", tmp_path / "prepared", SilentProgress())


def test_a_broken_or_unknown_gguf_is_one_line(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "model.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsupportedModel, match="cannot be converted") as caught:
        prepare(tmp_path / "cut.gguf", tmp_path / "prepared", SilentProgress())
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("may_link", [True, False])
def test_a_folder_that_nobody_writes_to_is_linked_and_costs_no_space(tmp_path: Path, may_link: bool) -> None:
    folder = write_folder(tmp_path / "model")
    for name in ("modeling_own.py", "training_args.bin", "headwater.json", "README.md"):
        (folder / name).write_bytes(b"no")
    out = tmp_path / "prepared"
    assert prepare(folder, out, SilentProgress(), may_link=may_link) == Facts(None, "float32")
    assert sorted(file.name for file in out.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (out / "model.safetensors").samefile(folder / "model.safetensors") == may_link


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl"])
def test_pickled_weights_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(PickledWeights, match=f"{name} is a pickle"):
        prepare(folder, tmp_path / "prepared", SilentProgress())


def test_a_slow_tokenizer_gets_its_fast_form_and_the_original_stays(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\nh e\nhe l\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    prepare(folder, tmp_path / "prepared", SilentProgress())
    ids = AutoTokenizer.from_pretrained(tmp_path / "prepared")("hell")["input_ids"]
    assert ids == [vocab["hel"], vocab["l"]]
    assert (tmp_path / "prepared" / "tokenizer.json").exists()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_folder_without_weights_or_config_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "config.json").unlink()
    with pytest.raises(UnsupportedModel, match=r"no config\.json"):
        prepare(folder, tmp_path / "a", SilentProgress())
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match=r"no \*\.safetensors"):
        prepare(folder, tmp_path / "b", SilentProgress())


def test_preparing_imports_no_model_library_into_this_process() -> None:
    code = (
        "import sys, service.models.prepare, service.models.store; print({'torch', 'transformers'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
