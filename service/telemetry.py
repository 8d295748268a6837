"""Log lines with the request they belong to. Prompts, answers and query strings are never logged."""

import logging

from service.middleware import REQUEST_ID

FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
TALKATIVE = ("sse_starlette", "uvicorn", "asyncio", "httpx", "httpcore")  # at debug they log what clients send
TELL_CLIENTS = ("python_multipart",)  # what it warns of is the client's fault, and the client is told


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True


def configure_logging(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(RequestIdFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in TELL_CLIENTS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().level))
