"""The Ray Serve application: an HTTP ingress that fetches and decodes media, and a model that predicts in batches."""

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
HEALTH_S = 2.0  # between two health checks of a replica: how soon a dead one is replaced
# Above the limit of `Guard`, which refuses requests as problem+json; Serve itself would refuse them as plain text.
INGRESS_MAX_ONGOING = 1000


class Model:
    """The deployment that holds the `Simulator` and predicts posts in batches.

    Args:
        bundle: Folder of the bundle to load.
        batch_size: Most posts in one batch.
        batch_wait_s: How long the first post of a batch waits for others.
    """

    def __init__(self, bundle: str, batch_size: int, batch_wait_s: float) -> None:
        from m3l.inference.simulator import Simulator  # imported here so that the ingress does not import torch

        self.simulator = Simulator.load(bundle)
        batch = serve.batch(max_batch_size=batch_size, batch_wait_timeout_s=batch_wait_s)
        self.batched: Any = batch(self._predict_batch)

    async def predict(self, post: Post, media: list[MediaFrames]) -> Prediction | str:
        """Predict likes and caption of a post.

        Args:
            post: The post; fields that it lacks are left out of the prompts.
            media: The key frames of each of its media files.

        Returns:
            The prediction, or the name of the exception that prevented it.
        """
        return await self.batched(post, media)

    async def explain(self, post: Post, media: list[MediaFrames]) -> list[Effect] | str:
        """Measure the effect of each part of a post on its predicted likes.

        Args:
            post: The post.
            media: The key frames of each of its media files.

        Returns:
            One effect per part, or the name of the exception that prevented it.
        """
        return await asyncio.to_thread(self._explain, post, media)

    def ready(self) -> bool:
        """True: the replica can only answer once its model is loaded."""
        return True

    def check_health(self) -> None:
        """Raise if the device no longer works, so that Serve replaces the replica."""
        import torch

        torch.ones(1, device=self.simulator.device).item()

    async def _predict_batch(self, posts: list[Post], media: list[list[MediaFrames]]) -> list[Prediction | str]:
        return await asyncio.to_thread(self._simulate, posts, media)

    def _simulate(self, posts: list[Post], media: list[list[MediaFrames]]) -> list[Prediction | str]:
        try:
            return [*self.simulator.simulate(posts, media)]
        except Exception as error:  # returned, not raised: one bad post must not fail the whole batch
            if len(posts) == 1:
                logger.exception("the prediction of a post failed")
                return [type(error).__name__]
            return [self._simulate([post], [frames])[0] for post, frames in zip(posts, media, strict=True)]

    def _explain(self, post: Post, media: list[MediaFrames]) -> list[Effect] | str:
        from m3l.inference.attribution import leave_one_out

        if "likes" not in self.simulator.heads:
            return []
        try:
            return leave_one_out(self.simulator, self.simulator.build_examples([post], [media], ["likes"])["likes"][0])
        except Exception as error:
            logger.exception("the explanation of a post failed")
            return type(error).__name__


class Ingress:
    """The deployment that answers HTTP requests, and fetches and decodes their media.

    Args:
        config: The bundle's configuration with the overrides of this deployment.
        key: The digest of the API key; None: no key is needed.
        about: The description of the model at /v2/models/m3l.
        model: Handle of the `Model` deployment.
    """

    def __init__(self, config: Config, key: bytes | None, about: dict[str, Any], model: DeploymentHandle) -> None:
        self.config, self.key, self.about, self.model = config, key, about, model

    def __serve_build_asgi_app__(self) -> ASGIApp:  # called by serve.ingress() to get the application
        app = application(Service(self.config, self.model), self.about)
        return Guard(app, self.config.serve, self.key)


def build(args: dict[str, Any]) -> Application:
    """Build the Serve application for a bundle; `import_path` of cluster/serve.yaml.

    Args:
        args: `bundle`, the bundle's folder, and optionally `overrides`, a mapping of `section.field` to a value that
            replaces the one in the bundle's configuration.

    Returns:
        The application, for `serve.run` or `serve deploy`.

    Raises:
        ConfigError: An argument is missing or unknown, the folder is no bundle, a field does not exist, or the
            service would listen beyond loopback without an API key.
    """
    unknown = args.keys() - {"bundle", "overrides"}
    if unknown or "bundle" not in args:
        raise ConfigError(f"args: expected `bundle` and optionally `overrides`, got {sorted(args)}")
    bundle = str(args["bundle"])
    bundle = bundle if "://" in bundle else str(Path(bundle).absolute())
    text = storage.read_text(f"{bundle}/config.yaml")
    if text is None:
        raise ConfigError(f"{bundle} is not a bundle: it has no config.yaml; `m3l train` writes one")
    config = override(parse(text), args.get("overrides") or {})
    settings, resources = config.serve, config.ray
    model = serve.deployment(
        Model,
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": resources.model_cpus, "num_gpus": resources.model_gpus},
        max_ongoing_requests=settings.max_ongoing_requests,
        max_queued_requests=settings.max_queued_requests,
        health_check_period_s=HEALTH_S,
    ).bind(bundle, settings.batch_size, settings.batch_wait_s)
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": resources.frames_cpus},
        max_ongoing_requests=INGRESS_MAX_ONGOING,
        health_check_period_s=HEALTH_S,
    )
    return ingress.bind(config, _key(settings), _about(bundle, text), model)


def _key(settings: ServeConfig) -> bytes | None:
    key = os.environ.get(settings.api_key_env)
    if not key and not _loopback(settings.host):
        raise ConfigError(
            f"serve.host: {settings.host} is reachable from other machines and {settings.api_key_env} is not set: "
            "set it to a key, or serve on 127.0.0.1"
        )
    return digest(key) if key else None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _about(bundle: str, text: str) -> dict[str, Any]:
    contents = storage.read_json(f"{bundle}/bundle.json") or {}
    contents["accounts"] = len(contents.get("accounts", ()))  # their number only: the names are private
    metrics = storage.read_json(f"{bundle}/metrics.json") or {}
    config = parse(text)
    version = hashlib.sha256(f"{text}{contents}{metrics}".encode()).hexdigest()[:12]
    return {
        "name": "m3l",
        "versions": [version],
        "platform": "m3l",
        "config": config.name,
        "tasks": [task.model_dump(include={"name", "masked", "head"}) for task in config.tasks],
        "training": {"seed": config.seed, **contents, **metrics},
    }
