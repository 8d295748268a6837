# syntax=docker/dockerfile:1
# docker build -t headwater . && docker run --rm -p 127.0.0.1:8000:8000 headwater
# Inside a container the service listens on all its addresses; who reaches it is decided by -p, here this machine alone.
# The first stage has the tools and fetches the default model; the last has neither tools nor a network to need.

FROM python:3.11-slim-bookworm AS build
# PyTorch's own index has the small CPU build; for CUDA: --build-arg PIP_EXTRA_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/headwater
ENV PATH=/opt/headwater/bin:$PATH HEADWATER_MODELS_DIR=/opt/models
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY service service
COPY streaming streaming
COPY uploads uploads
RUN pip install --upgrade --constraint constraints.txt pip \
    && pip install --constraint constraints.txt .
RUN headwater models pull

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 headwater \
    && install -d -o headwater -g headwater /var/lib/headwater
COPY --from=build /opt/headwater /opt/headwater
COPY --from=build --chown=headwater:headwater /opt/models /opt/models
ENV PATH=/opt/headwater/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HEADWATER_HOST=0.0.0.0 \
    HEADWATER_ALLOW_ANONYMOUS_NETWORK=true \
    HEADWATER_PORT=8000 \
    HEADWATER_MODELS_DIR=/opt/models \
    HEADWATER_DATA_DIR=/var/lib/headwater
USER headwater
WORKDIR /var/lib/headwater
VOLUME /var/lib/headwater
EXPOSE 8000
# `headwater serve` is process 1: SIGTERM makes it finish its streams and leave with 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['HEADWATER_PORT']}/readyz\", timeout=2)"]
CMD ["headwater", "serve"]
