"""Child process: writes the missing tokenizer.json of a model that comes with a slow tokenizer only."""

import sys
from pathlib import Path

from transformers import AutoTokenizer

from service.models.prepare import Facts
from service.models.prepare.report import report_error, report_facts, report_step


def main() -> None:
    folder = Path(sys.argv[1])
    report_step("converting the tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
        tokenizer.save_pretrained(folder)
    except (ValueError, OSError, ImportError) as error:
        report_error(f"the tokenizer cannot be read: {error}")
        return
    if not (folder / "tokenizer.json").exists():
        report_error("the tokenizer has no fast form, so no tokenizer.json can be written for it")
        return
    report_facts(Facts())


if __name__ == "__main__":
    main()
