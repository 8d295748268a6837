"""What schemathesis cannot know by itself: the bytes of tus are bytes. Named by `SCHEMATHESIS_HOOKS`."""

import schemathesis

from uploads.tus import CHUNK_TYPE

schemathesis.serializer.alias(CHUNK_TYPE, "application/octet-stream")
