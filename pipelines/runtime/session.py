"""Connecting to Ray: the cluster that is there, else a local one that listens on loopback alone."""

import logging
import os
from typing import Any

import ray
from ray.data import DataContext

from m3l.config import RayConfig

STARTS = 3  # attempts to start Ray on this machine: it allows 30 s for a start, whatever else the machine does


def connect(config: RayConfig) -> None:
    """Connect this process to Ray, once.

    Args:
        config: The cluster (`address`; otherwise RAY_ADDRESS, which a job sets, or else one that is started here with
            `num_cpus`), and the time-out of a stage without progress.
    """
    context = DataContext.get_current()
    context.execution_no_progress_timeout_s = config.no_progress_s
    # The second Parquet reader ignores the blocks asked for and starts 32 actors a read.
    context.use_datasource_v2 = False
    context.enable_progress_bars = False  # `stage.py` shows a bar of its own
    if ray.is_initialized():
        return
    address = config.address or os.environ.get("RAY_ADDRESS")
    # Workers' output goes to their log files; what they raise reaches the driver all the same.
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    if address:
        ray.init(address=address, **quiet)
    else:
        _start(config, quiet)
    for noisy in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _start(config: RayConfig, quiet: dict[str, Any]) -> None:
    for attempts_left in reversed(range(STARTS)):
        try:
            # The dashboard stays on: Tune frees the resources of a finished trial through its API.
            ray.init(address="local", num_cpus=config.num_cpus, include_dashboard=True, **quiet)
            return
        except Exception as error:  # Ray has no class of its own for it
            if not attempts_left or "timed out during startup" not in str(error):
                raise
