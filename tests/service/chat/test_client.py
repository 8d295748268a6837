"""What the terminal client makes of the server's answers."""

import httpx
import pytest

from service.chat.client import ChatClient, ChatError, Question
from tests.server import RunningServer


def refusal(server: RunningServer, **options: float) -> str:
    client = ChatClient(server.url)
    with pytest.raises(ChatError) as error:
        list(client.ask(Question([{"role": "user", "content": "hello"}], dict(options))))
    client.close()
    return str(error.value)


def test_a_refused_option_is_said_once(server: RunningServer) -> None:
    detail = httpx.get(f"{server.url}/chat/stream", params={"prompt": "x", "temperature": 9}).json()["detail"]
    assert refusal(server, temperature=9) == detail.replace("query.", "body.")


def test_every_refused_option_is_said(server: RunningServer) -> None:
    said = refusal(server, temperature=9, top_p=9)
    assert (said.count("temperature"), said.count("top_p")) == (1, 1)
