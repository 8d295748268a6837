"""`POST /upload-image`: a picture that is kept, and what the image model sees in it."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from service.answers import Answered
from service.predictors.errors import InvalidRecord
from service.predictors.picture import Picture
from service.predictors.predictor import OneShot
from service.routes.asking import Asking, TheAsking, told
from uploads.documents.errors import BrokenDocument, UnsupportedDocument
from uploads.documents.parse import kind_of
from uploads.errors import NotAnImage, ProcessingFailed, UploadsError
from uploads.process_routes import form_of, keep_form, refuse_fields
from uploads.records import Upload
from uploads.routes import NoParameters, TheOwner, TheUploads
from uploads.sandbox import kinds
from uploads.uploads import Uploads

KINDS = "PNG, JPEG, WebP, GIF, BMP or TIFF"
router = APIRouter(tags=["prediction"])


class FindingAnswer(BaseModel):
    text: str
    confidence: float = Field(description="0 to 1, the model's own.")


class ImageAnswer(BaseModel):
    filename: str
    upload_id: str
    prediction: str = Field(description="The recognised text, or the likeliest label.")
    details: list[FindingAnswer] = Field(description="The lines of the text, or the likeliest labels.")


@router.post("/upload-image", response_model=ImageAnswer, openapi_extra=form_of({}))
async def upload_image(
    request: Request, uploads: TheUploads, asking: TheAsking, owner: TheOwner, _: NoParameters
) -> Any:
    """Keeps the picture in `file` and says what is in it: its text, unless another model is configured."""
    model = await asking.one_shot(None, "image")
    upload, fields = await keep_form(request, uploads, owner)
    try:
        refuse_fields(fields)
        answered = await look_at(uploads.uploads, upload, asking, model)
    except BaseException:
        await uploads.uploads.delete(upload.id, owner)
        raise
    return told({"filename": upload.filename, "upload_id": upload.id, **answered.output}, model, answered)


async def look_at(uploads: Uploads, upload: Upload, asking: Asking, model: OneShot) -> Answered:
    async with uploads.local_path(upload) as path:
        try:
            if await asyncio.to_thread(kind_of, path, "", "") != "picture":
                raise UnsupportedDocument("no picture")
            return await asking.answer_read(model, Picture(upload.sha256, path), upload.owner)
        except (UnsupportedDocument, BrokenDocument):
            raise not_an_image() from None
        except InvalidRecord as error:
            raise file_error_of(error) from None


def file_error_of(error: InvalidRecord) -> UploadsError:
    """What is wrong with the picture, in the words and with the status of a file's route."""
    if error.kind in (BrokenDocument.code, UnsupportedDocument.code):
        return not_an_image()
    known = {kind.code: kind for kind in kinds(UploadsError)}
    return known.get(error.kind, ProcessingFailed)(error.message)


def not_an_image() -> NotAnImage:
    return NotAnImage(f"The file is no whole picture of a kind that is read: {KINDS}.")
