"""`headwater chat`: talk to a running server from the terminal, or pipe prompts through it."""

import os
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

API_KEY_VARIABLE = "HEADWATER_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"


def chat(
    url: Annotated[str, typer.Option(help="Where the server listens.")] = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="Which of its models; the default one if not given.")] = None,
    system: Annotated[str | None, typer.Option(help="A system message before the first question.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer, in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="0 always takes the likeliest token.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same answer.")] = None,
    api_key: Annotated[str | None, typer.Option(envvar=API_KEY_VARIABLE, help="The key to say who asks.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Piped input is one prompt, not one a line.")] = False,
) -> None:
    """Talk to a running server. Ctrl-C stops an answer, Ctrl-D or /quit leaves.

    Piped input is answered without decoration: `echo "Why is the sky blue?" | headwater chat`.
    """
    from rich.console import Console

    from service.chat.client import ChatClient
    from service.chat.terminal import Conversation, answer_lines, talk

    wanted = {"model": model, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    options = {name: value for name, value in wanted.items() if value is not None}
    client = ChatClient(url, api_key)
    conversation = Conversation(client, system, options)
    try:
        if sys.stdin.isatty():
            raise typer.Exit(talk(client, conversation, Console()))
        raise typer.Exit(answer_lines(conversation, prompts(whole)))
    except KeyboardInterrupt:
        client.cancel()
        raise typer.Exit(1) from None
    except BrokenPipeError:  # `headwater chat | head -1` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        client.cancel()
    finally:
        client.close()


def prompts(whole: bool) -> Iterator[str]:
    texts = iter([sys.stdin.read()]) if whole else iter(sys.stdin)
    return (stripped for text in texts if (stripped := text.strip()))
