"""One trial of a sweep: a training for each seed, ended where Ray Tune says so, and recorded so that it can go on."""

import threading
import time
from queue import Queue
from statistics import fmean
from typing import Any

from ray.tune import Trainable

from m3l.config import Config, override, parse
from m3l.tuning.search_space import Point, point_name, retriever_part
from m3l.tuning.trial_records import OBJECTIVE, read_record, trial_folder, write_record
from pipelines.runtime.train_run import ShouldContinue
from pipelines.workers.run_training import run_training


def retriever_paths(config: Config, point: Point, seed: int) -> dict[str, str]:
    """The paths of the retriever and of the contexts that a point's trial reads, if it has its own.

    Args:
        config: The sweep's configuration.
        point: The values that the trial tries.
        seed: The seed of the training.

    Returns:
        Dotted field -> folder; empty where the point changes nothing of the retriever.
    """
    if not (settings := retriever_part(point)):
        return {}
    folder = f"{config.paths.of('tune')}/retrievers/{point_name(settings)}-seed{seed}"
    return {f"paths.{part}": f"{folder}/{part}" for part in ("retriever", "embeddings", "context")}


def trial_config(config: Config, point: Point, seed: int) -> Config:
    """The configuration of one training of a trial.

    Args:
        config: The sweep's configuration.
        point: The values that the trial tries.
        seed: The seed of the training.
    """
    shorter = {
        "seed": seed,
        "train.workers": config.tune.trial_workers,
        "train.min_workers": None,
        "train.epochs": config.tune.epochs,
        "train.alignment_epochs": min(config.train.alignment_epochs, config.tune.epochs),
    }
    return override(config, {**shorter, **retriever_paths(config, point, seed), **point})


class Trial(Trainable):
    """Ray Tune's view of a trial: a step lasts until the next evaluation, and training waits for Tune's decision.

    The training runs in a thread. Each evaluation goes to Tune through `results`, and Tune's decision comes back
    through `decisions`: its next call of `step` means to go on, `cleanup` means to stop.
    """

    def setup(self, config: dict[str, Any], base: str) -> None:
        self.base, self.point = parse(base), config["point"]
        self.folder = self.base.paths.of("tune")
        self.record = read_record(self.folder, self.point)
        self._write()
        self.decisions: Queue[bool] = Queue()
        self.results: Queue[dict[str, Any] | Exception] = Queue()
        self.thread = threading.Thread(target=self._train, daemon=True)

    def step(self) -> dict[str, Any]:
        if self.thread.ident is None:
            self.thread.start()
        else:
            self.decisions.put(True)
        result = self.results.get()
        if isinstance(result, Exception):
            raise result
        return result

    def cleanup(self) -> None:
        """Ends the training that waits for a decision, with its workers and all that they hold of the cluster."""
        self.decisions.put(False)
        if self.thread.ident is not None:
            self.thread.join()

    def _train(self) -> None:
        try:
            for seed in range(self.base.seed, self.base.seed + self.base.tune.seeds):
                if seed in [done["seed"] for done in self.record["seeds"]]:
                    continue
                config = trial_config(self.base, self.point, seed)
                folder = f"{trial_folder(self.folder, self.point)}/seed{seed}"
                metrics = run_training(config, folder, self.base.tune.posts, "trial", self._should_continue(seed))
                if self.record["end"] == "stopped":
                    return
                losses = {key: value for key, value in metrics.items() if key.startswith("validation_")}
                self.record["seeds"].append({"seed": seed, OBJECTIVE: sum(losses.values()), **losses})
                self._write()
            self.record |= {"end": "finished", "error": None}
            self._write()
            self._report(fmean(done[OBJECTIVE] for done in self.record["seeds"]), {})
        except Exception as error:
            self.record["error"] = str(error).strip().split("\n")[-1]
            self._write()
            self.results.put(error)

    def _should_continue(self, seed: int) -> ShouldContinue:
        def should_continue(step: int, losses: dict[str, float]) -> bool:
            evaluations = self.record["evaluations"]
            if (seed, step) in [(earlier["seed"], earlier["step"]) for earlier in evaluations]:
                return True  # decided before the sweep was cut off
            objective = fmean([*(done[OBJECTIVE] for done in self.record["seeds"]), sum(losses.values())])
            evaluations.append({"seed": seed, "step": step, OBJECTIVE: objective, "at": time.time(), **losses})
            self._write()
            self._report(objective, {f"validation_{name}": value for name, value in losses.items()})
            if not self.decisions.get():
                self.record["end"] = "stopped"
                return False
            return True

        return should_continue

    def _report(self, objective: float, losses: dict[str, float]) -> None:
        """What Ray Tune gets: the objective, a mean over the seeds so far, after so many evaluations."""
        result: dict[str, Any] = {"evaluation": len(self.record["evaluations"]), OBJECTIVE: objective, **losses}
        self.results.put(result | ({"done": True, "end": "finished"} if self.record["end"] else {}))

    def _write(self) -> None:
        write_record(self.folder, self.record)
