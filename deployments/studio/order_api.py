"""The training service: an application orders a LoRA, is told where to look, and gets its address.

An order is on disk before it is answered, and becomes one run of the Prefect deployment, which holds the card as every other run does.
Nothing is trained in this process, and no address that a client names is fetched.
"""

import asyncio
import base64
import binascii
import json
import time
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from deployments.studio.drop_in import SOURCE_LIMITS
from deployments.studio.order_models import (
    FINAL,
    LONGEST_PICTURE,
    MOST_PICTURES,
    MOST_WAIT_SECONDS,
    IdempotencyKey,
    OrderBody,
    OrderView,
)
from deployments.studio.order_status import order_view
from deployments.studio.studio import Studio, TheStudio
from flenwheel_core.base.errors import GateError, InputError, NotFoundError, ServerError
from flenwheel_core.base.ids import digest_json
from flenwheel_core.base.plain_text import one_line
from flenwheel_core.documents.orders import OrderEnded, OrderPicture, TrainOrder
from flenwheel_core.images.decode import check_picture
from flenwheel_core.library.orders import Orders
from flenwheel_core.plans.order_recipe import order_recipe
from flenwheel_core.plans.subjects import plan_of, usable_recipe

router = APIRouter(tags=["training service"])
OrderId = Annotated[str, Path(pattern=r"^[0-9a-f]{20}$", description="the order's id")]
LOOK_SECONDS = 1.0


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references: what they lead to stands in their place."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items() if key != "$defs"}


_SCHEMA = OrderBody.model_json_schema()
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _inlined(_SCHEMA, _SCHEMA["$defs"])},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "order": {
                            "type": "string",
                            "description": "JSON: everything of an order but its pictures; `descriptions` is a list in the pictures' order",
                        },
                    },
                }
            },
        },
    }
}


@router.post(
    "/train-lora",
    status_code=202,
    response_model=OrderView,
    openapi_extra=BODY,
    responses={200: {"model": OrderView, "description": "it has ended already"}},
)
async def train_lora(
    studio: TheStudio,
    request: Request,
    response: Response,
    background: BackgroundTasks,
    wait: Annotated[bool, Query(description="answer when the order has ended, or after 15 minutes")] = False,
    idempotency_key: Annotated[
        IdempotencyKey | None, Header(description="the same key is the same order, however often it is sent")
    ] = None,
) -> OrderView:
    """Orders a LoRA. Without an idempotency key the same content is the same order."""
    body, pictures = await _read(request)
    id_ = await run_in_threadpool(_accept, studio, body, pictures, idempotency_key)
    if wait:
        await run_in_threadpool(_hand_over, studio, id_)
    else:  # once it is answered: a server that is busy with others' runs keeps nobody waiting
        background.add_task(_hand_over, studio, id_)
    view = await run_in_threadpool(order_view, studio, id_)
    end = time.monotonic() + MOST_WAIT_SECONDS
    while wait and view.state not in FINAL and time.monotonic() < end and not await request.is_disconnected():
        await asyncio.sleep(LOOK_SECONDS)
        view = await run_in_threadpool(order_view, studio, id_)
    response.headers["location"] = view.location
    if view.state in FINAL:
        response.status_code = 200
    return view


@router.get("/train-lora/{order}")
def get_order(studio: TheStudio, order: OrderId) -> OrderView:
    """How an order stands, and the LoRA's address when it is done."""
    return order_view(studio, order)


@router.delete("/train-lora/{order}")
def cancel_order(studio: TheStudio, order: OrderId) -> OrderView:
    """Cancels an order; its run is ended. One that is done stays done."""
    orders = Orders(studio.store)
    orders.get(order)
    ended = orders.end(order, OrderEnded(state="cancelled"))
    handed = orders.handed(order)
    if ended.state == "cancelled" and handed is not None and studio.flows is not None:
        studio.flows.cancel_run(handed.flow_run)
    return order_view(studio, order)


@router.get(
    "/train-lora/{order}/model",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def get_model(studio: TheStudio, order: OrderId) -> Response:
    """The finished LoRA itself, for whoever may not read the object store."""
    Orders(studio.store).get(order)
    ended = Orders(studio.store).ended(order)
    model = None if ended is None else ended.model
    if model is None:
        raise NotFoundError("This order has no LoRA yet.", remedy="Ask for its state: GET /api/v1/train-lora/ID.")
    name = f'attachment; filename="order-{order}.safetensors"'
    headers = {"content-disposition": name, "etag": f'"{model.digest}"'}
    return Response(studio.store.get_blob(model.digest), media_type="application/octet-stream", headers=headers)


def _accept(studio: Studio, body: OrderBody, pictures: list[bytes] | None, key: str | None) -> str:
    """Checks an order and keeps it: from here on it is accepted, whatever becomes of this process."""
    if studio.flows is None:
        raise GateError("This studio runs without a flow server.", remedy="Start the workspace with `flenwheel up`.")
    choices, kept = body.choices(), _keep_pictures(studio, body, pictures)
    new = plan_of(body.kind).new
    recipe = body.recipe or (studio.settings.service_recipe if body.kind != "style" else new.recipe)
    content = {
        "user_id": str(body.user_id),
        "trigger": body.trigger or new.trigger,
        "class_word": body.class_word or new.class_word,
        "kind": body.kind,
        "recipe": recipe,
        "pictures": [picture.model_dump() for picture in kept],
        **choices.model_dump(),
    }
    id_ = digest_json(["key", str(body.user_id), key] if key is not None else ["content", content])[:20]
    order = TrainOrder.model_validate({"id": id_, **content})
    order_recipe(order, usable_recipe(recipe, order.kind))
    Orders(studio.store).accept(order)
    return id_


def _hand_over(studio: Studio, id_: str) -> None:
    """Gives an order its run; if the server does not answer, the workspace does it as soon as it does."""
    if studio.flows is not None:
        with suppress(ServerError):
            studio.flows.start_order(id_)


def _keep_pictures(studio: Studio, body: OrderBody, given: list[bytes] | None) -> tuple[OrderPicture, ...]:
    kept = []
    for number, picture in enumerate(body.train_data):
        name = f"picture {number + 1}"
        data = given[number] if given is not None else _data_of(studio, picture.image, name)
        check_picture(data, name, SOURCE_LIMITS)
        kept.append(OrderPicture(image=studio.store.put_blob(data), description=one_line(picture.description)))
    return tuple(kept)


def _data_of(studio: Studio, image: str, name: str) -> bytes:
    """The bytes that a digest or base64 stands for."""
    if len(image) == 64 and all(letter in "0123456789abcdef" for letter in image):
        return studio.store.get_blob(image)
    if image.startswith(("http://", "https://", "file:", "s3:")):
        raise InputError(
            f"{name} is an address.", why="addresses are not fetched.", remedy="Send the picture itself, as base64."
        )
    text = image.partition(",")[2] if image.startswith("data:") else image
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{name} is neither base64 nor a digest.", why=f"{error}.") from None


async def _read(request: Request) -> tuple[OrderBody, list[bytes] | None]:
    """The order in a request, and its pictures where they came as files."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        try:
            return OrderBody.model_validate_json(await request.body()), None
        except ValidationError as error:
            raise _invalid(error) from None
    async with request.form(max_files=MOST_PICTURES, max_fields=4, max_part_size=2 * 2**20) as form:
        return await _read_form(form)


async def _read_form(form: FormData) -> tuple[OrderBody, list[bytes]]:
    files = [part for part in form.getlist("images") if isinstance(part, UploadFile)]
    pictures = [await file.read(LONGEST_PICTURE + 1) for file in files]
    said = form.get("order") or "{}"
    try:
        content = json.loads(said) if isinstance(said, str) else None
        descriptions = content.pop("descriptions", []) if isinstance(content, dict) else []
        if not isinstance(content, dict) or not isinstance(descriptions, list) or len(descriptions) > len(files):
            raise InputError(
                "The field order cannot be read.",
                why="it is a JSON object; its descriptions are a list with one text a picture.",
            )
        texts = [*descriptions, *[""] * (len(files) - len(descriptions))]
        content["train_data"] = [{"image": "file", "description": text} for text in texts]
        return OrderBody.model_validate(content), pictures
    except ValidationError as error:
        raise _invalid(error) from None
    except (ValueError, RecursionError) as error:
        raise InputError("The field order is no JSON.", why=f"{type(error).__name__}.") from None


def _invalid(error: ValidationError) -> InputError:
    wrong = "; ".join(
        f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()[:5]
    )
    return InputError("The order is not valid.", why=wrong, remedy="See /api for what is asked for.")
