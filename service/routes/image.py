"""`POST /upload-image`: a picture that is kept, and what the image model sees in it."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from service.predictors.picture import PictureModel, Seen
from uploads.documents.errors import BrokenDocument, UnsupportedDocument
from uploads.documents.parse import kind_of
from uploads.errors import NotAnImage
from uploads.process_routes import form_of, keep_form, refuse_fields
from uploads.records import Upload
from uploads.routes import NoParameters, TheOwner, TheUploads
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


async def model_of(request: Request) -> PictureModel:
    model: PictureModel = request.state.pictures
    return model


TheModel = Annotated[PictureModel, Depends(model_of)]


@router.post("/upload-image", response_model=ImageAnswer, openapi_extra=form_of({}))
async def upload_image(request: Request, uploads: TheUploads, model: TheModel, owner: TheOwner, _: NoParameters) -> Any:
    """Keeps the picture in `file` and says what is in it: its text, unless another model is configured."""
    upload, fields = await keep_form(request, uploads, owner)
    try:
        refuse_fields(fields)
        seen = await look_at(uploads.uploads, upload, model)
    except BaseException:
        await uploads.uploads.delete(upload.id, owner)
        raise
    details = [FindingAnswer(text=one.text, confidence=round(one.confidence, 6)) for one in seen.findings]
    return ImageAnswer(filename=upload.filename, upload_id=upload.id, prediction=seen.prediction, details=details)


async def look_at(uploads: Uploads, upload: Upload, model: PictureModel) -> Seen:
    async with uploads.local_path(upload) as path:
        try:
            if await asyncio.to_thread(kind_of, path, "", "") != "picture":
                raise UnsupportedDocument("no picture")
            return await model.look_at(path)
        except (UnsupportedDocument, BrokenDocument):
            raise NotAnImage(f"The file is no whole picture of a kind that is read: {KINDS}.") from None
