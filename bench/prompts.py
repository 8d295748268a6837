"""Prompts of about 40 tokens with the chat template, every one different: a prefix cache must not decide the race."""

THINGS = ("river", "lighthouse", "market", "violin", "winter", "train", "garden", "harbour")
PLACES = ("in a small town", "far in the north", "on an island", "after the war", "at night", "in the hills")
FORMS = ("Write a story about", "Describe in detail", "Explain to a child what happens with", "Write a letter about")


def prompt(number: int) -> str:
    thing = THINGS[number % len(THINGS)]
    place = PLACES[number // len(THINGS) % len(PLACES)]
    form = FORMS[number // len(THINGS) // len(PLACES) % len(FORMS)]
    return f"{form} the {thing} {place}, number {number}."
