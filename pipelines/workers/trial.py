"""One trial of a sweep: a `train` for each seed, cut off where Ray Tune says so, and kept so that it can go on."""

import threading
import time
from queue import Queue
from statistics import fmean
from typing import Any

from ray.tune import Trainable

from m3l.config import Config, override, parse
from m3l.tuning import trial_records
from m3l.tuning.search_space import OBJECTIVE, Point, name, retriever
from pipelines.runtime.train_run import Judge
from pipelines.train import fit


def retrieved(config: Config, point: Point, seed: int) -> dict[str, str]:
    """The paths of the retriever and of the contexts that a point's trial reads, if it has its own."""
    if not (own := retriever(point)):
        return {}
    folder = f"{config.paths.of('tune')}/retrievers/{name(own)}-seed{seed}"
    return {f"paths.{made}": f"{folder}/{made}" for made in ("retriever", "embeddings", "context")}


def settings(config: Config, point: Point, seed: int) -> Config:
    """The configuration of one run of a trial."""
    quick = {
        "seed": seed,
        "train.workers": config.tune.trial_workers,
        "train.min_workers": None,
        "train.epochs": config.tune.epochs,
        "train.warmup_epochs": min(config.train.warmup_epochs, config.tune.epochs),
    }
    return override(config, {**quick, **retrieved(config, point, seed), **point})


class Trial(Trainable):
    """Ray Tune's view of a trial: a step lasts until the next evaluation, and training waits for what is said of it."""

    def setup(self, config: dict[str, Any], base: str) -> None:
        self.base, self.point = parse(base), config["point"]
        self.record = trial_records.read(self.base, self.point)
        self._write()
        self.said: Queue[bool] = Queue()
        self.heard: Queue[dict[str, Any] | Exception] = Queue()
        self.thread = threading.Thread(target=self._train, daemon=True)

    def step(self) -> dict[str, Any]:
        if self.thread.ident is None:
            self.thread.start()
        else:
            self.said.put(True)
        heard = self.heard.get()
        if isinstance(heard, Exception):
            raise heard
        return heard

    def cleanup(self) -> None:
        """Ends the training that waits for a word, with its workers and all that they hold of the cluster."""
        self.said.put(False)
        if self.thread.ident is not None:
            self.thread.join()

    def _train(self) -> None:
        try:
            for seed in range(self.base.seed, self.base.seed + self.base.tune.seeds):
                if seed in [known["seed"] for known in self.record["seeds"]]:
                    continue
                config = settings(self.base, self.point, seed)
                folder = f"{trial_records.folder_of(self.base, self.point)}/seed{seed}"
                metrics = fit(config, folder, self.base.tune.posts, "trial", self._judge(seed))
                if self.record["end"] == "stopped":
                    return
                losses = {key: value for key, value in metrics.items() if key.startswith("validation_")}
                self.record["seeds"].append({"seed": seed, OBJECTIVE: sum(losses.values()), **losses})
                self._write()
            self.record |= {"end": "finished", "error": None}
            self._write()
            self._tell(fmean(known[OBJECTIVE] for known in self.record["seeds"]), {})
        except Exception as error:
            self.record["error"] = str(error).strip().split("\n")[-1]
            self._write()
            self.heard.put(error)

    def _judge(self, seed: int) -> Judge:
        def judge(step: int, losses: dict[str, float]) -> bool:
            before = self.record["evaluations"]
            if (seed, step) not in [(known["seed"], known["step"]) for known in before]:
                objective = fmean([*(known[OBJECTIVE] for known in self.record["seeds"]), sum(losses.values())])
                before.append({"seed": seed, "step": step, OBJECTIVE: objective, "at": time.time(), **losses})
                self._write()
                self._tell(objective, {f"validation_{name}": value for name, value in losses.items()})
                if not self.said.get():
                    self.record["end"] = "stopped"
                    return False
            return True

        return judge

    def _tell(self, objective: float, losses: dict[str, float]) -> None:
        """What Ray Tune hears: the objective, a mean over the seeds so far, after so many evaluations."""
        told: dict[str, Any] = {"evaluation": len(self.record["evaluations"]), OBJECTIVE: objective, **losses}
        self.heard.put(told | ({"done": True, "end": "finished"} if self.record["end"] else {}))

    def _write(self) -> None:
        trial_records.write(self.base, self.record)
