"""The actor that scores a bundle on held-out posts."""

import pyarrow as pa
import ray

from m3l.config import Config
from m3l.corpus.effects import Formula
from m3l.corpus.world import World
from m3l.data.examples import history_of, key_frames, load_examples, rows
from m3l.data.id_hash import hashes
from m3l.data.keyed_rows import open_store
from m3l.data.schemas import to_table
from m3l.evaluation.evaluator import Examiner
from m3l.evaluation.held_out import truth_of
from m3l.evaluation.score_schema import MEASURED
from m3l.evaluation.text_metrics import Documents
from m3l.inference.simulator import Simulator
from m3l.retriever.embeddings import Embeddings


class Measure:
    """A Ray Data actor that holds the bundle."""

    def __init__(self, config: Config, documents: "ray.ObjectRef[Documents]", asked: int):
        self.config, self.truth, self.asked = config, truth_of(config), asked
        known = Formula(World.build(config.corpus, config.seed)) if self.truth else None
        embeddings = Embeddings(config.paths.of("embeddings")) if self.truth else None
        self.measure = Examiner(Simulator.load(config.paths.of("bundle")), ray.get(documents), known, embeddings)

    def __call__(self, block: pa.Table) -> pa.Table:
        paths, ids = self.config.paths, block["post_id"].to_pylist()
        found = load_examples(paths.of("posts"), paths.of("context"), ids, history_of(self.config))
        posts = list(rows(found, self.config.tasks))
        truths = [open_store(self.truth, "post_id")[i][0] if self.truth else None for i in ids]
        media = [list(key_frames(paths.of("keyframes"), next(iter(row.values())).post)) for row in posts]
        asked = (hashes(ids) <= self.asked).tolist()
        return to_table(self.measure(posts, truths, media, asked), MEASURED)
