"""The service on Ray Serve: replicas of the model that answer in batches, behind replicas that read media."""

import asyncio
import hashlib
import ipaddress
import logging
import os
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from m3l.config import Config, ConfigError, ServeConfig, override, parse
from m3l.data import storage
from m3l.data.records import Effect, MediaFrames, Post, Prediction
from serve_app.middleware import Guard, digest
from serve_app.routes import application
from serve_app.service import Service

logger = logging.getLogger("ray.serve")
HEALTH_S = 2.0  # between two looks at a replica: how soon a dead one is replaced
INGRESS_PLACES = 1000  # beyond the Guard's, which refuses with a problem and not with plain text


class Model:
    """Holds the Simulator and answers posts a batch at a time."""

    def __init__(self, bundle: str, batch_size: int, batch_wait_s: float) -> None:
        from m3l.inference.simulator import Simulator  # here, so that the ingress does without torch

        self.simulator = Simulator.load(bundle)
        batch = serve.batch(max_batch_size=batch_size, batch_wait_timeout_s=batch_wait_s)
        self.batched: Any = batch(self._batch)

    async def tell(self, post: Post, media: list[MediaFrames]) -> Prediction | str:
        """The prediction, or the name of the error that kept it."""
        return await self.batched(post, media)

    async def why(self, post: Post, media: list[MediaFrames]) -> list[Effect] | str:
        """What each part of the post does to its likes, or the name of the error that kept it."""
        return await asyncio.to_thread(self._why, post, media)

    def ready(self) -> bool:
        return True

    def check_health(self) -> None:
        """Raises once the device is lost, so that Serve replaces the replica."""
        import torch

        torch.ones(1, device=self.simulator.device).item()

    async def _batch(self, posts: list[Post], media: list[list[MediaFrames]]) -> list[Prediction | str]:
        return await asyncio.to_thread(self._tell, posts, media)

    def _tell(self, posts: list[Post], media: list[list[MediaFrames]]) -> list[Prediction | str]:
        try:
            return [*self.simulator.simulate(posts, media)]
        except Exception as error:  # raised, it would fail its neighbours in the batch
            if len(posts) == 1:
                logger.exception("a post failed")
                return [type(error).__name__]
            return [self._tell([post], [read])[0] for post, read in zip(posts, media, strict=True)]

    def _why(self, post: Post, media: list[MediaFrames]) -> list[Effect] | str:
        from m3l.inference.attribution import why

        if "likes" not in self.simulator.heads:
            return []
        try:
            return why(self.simulator, self.simulator.examples([post], [media], ["likes"])["likes"][0])
        except Exception as error:
            logger.exception("the reasons of a post failed")
            return type(error).__name__


class Ingress:
    """Speaks HTTP, and fetches and decodes media next to it."""

    def __init__(self, config: Config, key: bytes | None, about: dict[str, Any], model: DeploymentHandle) -> None:
        self.config, self.key, self.about, self.model = config, key, about, model

    def __serve_build_asgi_app__(self) -> ASGIApp:  # what serve.ingress() asks for its application
        app = application(Service(self.config, self.model), self.about)
        return Guard(app, self.config.serve, self.key)


def build(args: dict[str, Any]) -> Application:
    """The Serve application of `{bundle: FOLDER, overrides: {section.field: value}}`; ConfigError.

    The bundle's own configuration is what is overridden.
    """
    unknown = args.keys() - {"bundle", "overrides"}
    if unknown or "bundle" not in args:
        raise ConfigError(f"args: give `bundle`, and `overrides` if any, not {sorted(unknown)}")
    bundle = str(args["bundle"])
    bundle = bundle if "://" in bundle else str(Path(bundle).absolute())
    text = storage.read_text(f"{bundle}/config.yaml")
    if text is None:
        raise ConfigError(f"{bundle} is no bundle: it has no config.yaml; `m3l train` writes one")
    config = override(parse(text), args.get("overrides") or {})
    settings, asked = config.serve, config.ray
    model = serve.deployment(
        Model,
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": asked.model_cpus, "num_gpus": asked.model_gpus},
        max_ongoing_requests=settings.max_ongoing_requests,
        max_queued_requests=settings.max_queued_requests,
        health_check_period_s=HEALTH_S,
    ).bind(bundle, settings.batch_size, settings.batch_wait_s)
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": asked.frames_cpus},
        max_ongoing_requests=INGRESS_PLACES,
        health_check_period_s=HEALTH_S,
    )
    return ingress.bind(config, _key(settings), _about(bundle, text), model)


def _key(settings: ServeConfig) -> bytes | None:
    key = os.environ.get(settings.api_key_env)
    if not key and not _loopback(settings.host):
        raise ConfigError(
            f"serve.host: {settings.host} can be reached from outside and {settings.api_key_env} is not set: "
            "put a key there, or serve on 127.0.0.1"
        )
    return digest(key) if key else None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _about(bundle: str, text: str) -> dict[str, Any]:
    facts = storage.read_json(f"{bundle}/bundle.json") or {}
    facts["accounts"] = len(facts.get("accounts", ()))  # whose they are is nobody's business
    metrics = storage.read_json(f"{bundle}/metrics.json") or {}
    config = parse(text)
    version = hashlib.sha256(f"{text}{facts}{metrics}".encode()).hexdigest()[:12]
    return {
        "name": "m3l",
        "versions": [version],
        "platform": "m3l",
        "config": config.name,
        "tasks": [task.model_dump(include={"name", "masked", "head"}) for task in config.tasks],
        "training": {"seed": config.seed, **facts, **metrics},
    }
