"""What of a question is looked for as words."""

import re

WORDS_MAX = 64
WORD = re.compile(r"\w+")
# In nearly every piece of an English text: they say nothing about which one is meant, and make every piece a candidate.
COMMON = frozenset(
    (
        *("a", "about", "an", "and", "any", "are", "as", "at", "be", "by", "can", "did", "do", "does", "for", "from"),
        *("had", "has", "have", "how", "i", "if", "in", "is", "it", "its", "me", "my", "of", "on", "or", "our", "out"),
        *("should", "that", "the", "their", "there", "they", "this", "to", "was", "we", "were", "what", "when"),
        *("where", "which", "who", "why", "will", "with", "would", "you", "your"),
    )
)


def match_expression(text: str) -> str:
    """For FTS5: any of the words; quoted, so that none of them is taken for an operator. Empty if there is none."""
    words = dict.fromkeys(word.lower() for word in WORD.findall(text))
    telling = [word for word in words if word not in COMMON] or list(words)
    return " OR ".join(f'"{word}"' for word in telling[:WORDS_MAX])
