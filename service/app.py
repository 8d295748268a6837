"""`create_app`: the ASGI application, put together from settings. No I/O here, and nothing global."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI
from starlette.middleware import Middleware
from starlette.responses import Response

from service import errors, health
from service.access.gate import Gate
from service.access.opening import CannotOpen
from service.access.policies import POLICIES, PUBLIC, Policy
from service.access.rules import Rules
from service.auth import authenticate
from service.body import refuse_other_than_json
from service.border import Border
from service.drain import Drain
from service.hosts import Hosts
from service.lifespan import lifespan
from service.limits.limiter import Limiter
from service.limits.logins import LoginLimits
from service.limits.middleware import RateLimits
from service.linger import Linger
from service.metrics.metrics import Metrics
from service.metrics.requests import RequestMeter
from service.middleware import (
    ALLOWED_HEADERS,
    EXPOSED_HEADERS,
    METHODS,
    BodyLimit,
    ErrorBoundary,
    PlainBody,
    PlainStart,
    RequestId,
)
from service.models.loaders import Load, load_model
from service.openapi import DescribedApp
from service.origins import Origins
from service.page import read_page
from service.pages import reference
from service.preflight import Preflight
from service.proxies import BehindProxies, Proxies
from service.query import refuse_broken_query
from service.routes import batch, chat_files, image, invocations, login, metrics, models, page, predict, texts
from service.settings import Settings
from service.storage import StorageUnusable
from streaming import routes as streaming_routes
from uploads import job_routes, process_routes, search_routes, tus_routes
from uploads import routes as uploads_routes

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

DESCRIPTION = "A language model behind a plain EventSource. `docs/wire.md` says what stands in a stream."
REFUSALS = errors.documented(400, 401, 403, 404, 406, 413, 415, 422, 429, 500, 503)

FILE_REFUSALS = errors.documented(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 507)


def create_app(settings: Settings, load: Load = load_model, tracer: "Tracer | None" = None) -> FastAPI:
    """`load` opens the model of an entry of the list of models; it runs in a thread and may take its time."""
    counted = Metrics()
    tracer = tracer or tracer_of(settings)
    app = DescribedApp(
        title="Headwater",
        version=version_of_service(),
        description=DESCRIPTION,
        lifespan=lifespan,
        middleware=middleware(settings, counted, tracer),
        docs_url=None,  # `service.pages.reference` has pages that need no other host
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it asks the environment at each request
        redirect_slashes=False,  # it would send clients to the address that their Host header names
    )
    app.state.settings = settings
    app.state.load = load
    app.state.metrics = counted
    app.state.limiter = Limiter(settings.limits) if settings.limits.is_on else None
    app.state.login_limits = LoginLimits(settings.limits)
    app.state.tracer = tracer
    app.state.drain = Drain()
    app.state.page = read_page()
    app.state.policies = policies(settings)
    app.state.on_hangup = []  # called on the event loop after a SIGHUP; must not block
    errors.install(app)
    include_routers(app)
    Rules(app.routes, app.state.policies)  # a route that nobody has decided on fails here
    return app


def include_routers(app: FastAPI) -> None:
    """Routes are compared with a request one after the other, for microseconds each: the most asked for come first."""
    guards = [Depends(authenticate), Depends(refuse_broken_query)]
    json_guards = [*guards, Depends(refuse_other_than_json)]
    predict.add_predict(app.router, dependencies=json_guards, responses=REFUSALS)
    app.router.add_api_route(
        chat_files.FORM_PATH,
        chat_files.stream_of_form,
        methods=["POST"],
        dependencies=guards,
        response_class=Response,
        include_in_schema=False,  # the same path takes JSON and is described there
        route_class_override=chat_files.FormRoute,
    )
    routers = predict.router, batch.router, texts.router, streaming_routes.router, search_routes.router, models.router
    for router in routers:
        app.include_router(router, dependencies=json_guards, responses=REFUSALS)
    app.include_router(invocations.router, dependencies=json_guards)
    for router in (
        uploads_routes.router,
        tus_routes.router,
        process_routes.router,
        job_routes.router,
        image.router,
    ):
        app.include_router(router, dependencies=guards, responses=FILE_REFUSALS)
    for router in (login.router, metrics.router):
        app.include_router(router, dependencies=[Depends(authenticate)])
    app.include_router(health.router)
    app.include_router(invocations.ping_router)
    app.include_router(page.router)
    app.include_router(reference.router)


def policies(settings: Settings) -> dict[str, Policy]:
    return {**POLICIES, "GET /metrics": PUBLIC} if settings.access.metrics_public else dict(POLICIES)


def tracer_of(settings: Settings) -> "Tracer | None":
    """Raises `ImportError` when traces are wanted without the extra."""
    if settings.traces == "off":
        return None
    from service.tracing import otlp_tracer  # noqa: PLC0415  an extra, which costs nothing while it is off

    return otlp_tracer(version_of_service())


def tracing(tracer: "Tracer | None") -> list[Middleware]:
    if tracer is None:
        return []
    from service.tracing import TraceRequests  # noqa: PLC0415  as above

    return [Middleware(TraceRequests, tracer=tracer)]


def middleware(settings: Settings, counted: Metrics, tracer: "Tracer | None") -> list[Middleware]:
    """The outermost first: the count of all, an id for each, what browsers may do, failures, who asks, the body.

    Headers for browsers are on a failure, too. A refusal lingers until the client has read it.
    """
    origins = Origins(settings.cors_origins)
    preflight = Preflight(
        origins,
        allow_credentials=settings.cors_credentials,
        allow_methods=METHODS,
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
    )
    proxies = [Middleware(BehindProxies, proxies=Proxies(settings.trusted_proxies))] if settings.trusted_proxies else []
    return [
        Middleware(PlainStart, told=(StorageUnusable, CannotOpen)),
        *proxies,
        Middleware(RequestMeter, metrics=counted),
        Middleware(RequestId),
        *tracing(tracer),
        Middleware(
            Border,
            hosts=Hosts(settings.allowed_hosts, settings.host),
            origins=origins,
            preflight=preflight,
            policies=reference.POLICIES,
        ),
        Middleware(Linger),
        Middleware(ErrorBoundary),
        Middleware(Gate),
        *([Middleware(RateLimits, refused=counted.rate_limited)] if settings.limits.is_on else []),
        Middleware(PlainBody),
        Middleware(
            BodyLimit,
            max_bytes=settings.max_body_bytes,
            larger=larger_bodies(settings),
            larger_forms={chat_files.FORM_PATH: settings.uploads.max_request_bytes},
        ),
    ]


def larger_bodies(settings: Settings) -> dict[str, int]:
    """Where files come in. Whatever is there counts and stores a body while it reads it, and never gathers it."""
    files = dict.fromkeys(("/uploads", "/files", "/process-file", "/upload-image"), settings.uploads.max_request_bytes)
    return {**files, "/process-batch": settings.jobs.batch_max_bytes}


def version_of_service() -> str:
    try:
        return version("headwater")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+checkout"
