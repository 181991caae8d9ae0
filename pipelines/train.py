"""context/ -> bundle/: Algorithm 1 of M3L on Ray Train workers."""

from typing import Any

from m3l.config import Config
from pipelines.runtime.console import console, done_before
from pipelines.runtime.session import connect
from pipelines.workers.run_training import bundle_settings, run_training


def main(config: Config) -> dict[str, Any]:
    """Train on the posts of the split `train` that have both caption and likes; write the bundle.

    Returns:
        The content of metrics.json: number of posts and steps, validation losses.
    """
    folder = config.paths.of("bundle")
    if metrics := done_before("train", folder, bundle_settings(config), "metrics.json"):
        return dict(metrics)
    connect(config.ray)
    metrics = run_training(config, folder)
    console.print(f"[bold]train[/]: {_line(metrics)} -> {folder}")
    return metrics


def _line(metrics: dict[str, Any]) -> str:
    parts = [f"{name} {value:.3f}" for name, value in metrics.items() if isinstance(value, float)]
    if metrics["skipped_steps"]:
        parts.append(f"{metrics['skipped_steps']:,} steps skipped for gradients that were not finite")
    return f"{metrics['train_posts']:,} posts, {metrics['steps']:,} steps, " + ", ".join(parts)


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
