"""What a file's name says: `price_list-2031.pdf` holds the words price, list and 2031."""

import re
from pathlib import PurePath

WORD = re.compile(r"\w+")


def spoken_name(filename: str) -> str:
    return " ".join(WORD.findall(PurePath(filename).stem.replace("_", " ")))
