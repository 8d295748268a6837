"""The peer: `transformers serve` in a virtual environment of its own, with our default model as dense bfloat16.

Both are made once and kept. transformers serves a folder, not a bare GGUF file, so the file is unpacked into one.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.servers import Contender
from service.models.config import load_catalog
from service.models.fetch import fetch
from service.models.progress import SilentProgress

ROOT = Path(__file__).parent.parent
ENVIRONMENT = ROOT / ".venv-peer"
MODEL = ENVIRONMENT / "model"
PYTHON = ENVIRONMENT / "bin" / "python"
PACKAGES = ("torch==2.13.0", "transformers[serving]==5.23.0", "gguf")
SEQUENTIAL_STREAMS = 16  # one answer after the other: more streams only wait longer
CACHE_BLOCKS = ("--cb-block-size", "32", "--cb-num-blocks", "512")  # its own choice takes all memory of the machine
EXPORT = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
folder, name, target = sys.argv[1:]
dense = GgufConfig(dequantize=True)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16, quantization_config=dense)
model.hf_quantizer = None  # it is dense now, and may be saved
model.config.architectures = [type(model).__name__]
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(target)
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)
"""


def prepare() -> None:
    if (MODEL / "config.json").exists():
        return
    if not (ENVIRONMENT / "bin" / "transformers").exists():
        install()
    entry = load_catalog()["default"]
    with TemporaryDirectory() as work:
        gguf = fetch(entry, entry.references, Path(work), SilentProgress()).path
        named = gguf.rename(gguf.with_name("model.gguf"))
        run(str(PYTHON), "-c", EXPORT, str(named.parent), named.name, str(MODEL))


def install() -> None:
    constraints = ("--constraint", str(ROOT / "constraints.txt"))
    run(sys.executable, "-m", "venv", str(ENVIRONMENT))
    run(str(PYTHON), "-m", "pip", "install", "--quiet", "--upgrade", *constraints, "pip")
    run(str(PYTHON), "-m", "pip", "install", "--quiet", *constraints, *PACKAGES)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def contenders() -> list[Contender]:
    command: tuple[str, ...] = (str(ENVIRONMENT / "bin" / "transformers"), "serve", str(MODEL), "--port", "{port}")
    command += ("--host", "127.0.0.1", "--device", "cpu", "--dtype", "bfloat16")
    batching = (*command, "--continuous-batching", "--attn-implementation", "sdpa", *CACHE_BLOCKS)
    return [
        Contender("transformers serve, bf16", command, "/health", "openai", SEQUENTIAL_STREAMS),
        Contender("the same, continuous batching", batching, "/health", "openai"),
    ]
