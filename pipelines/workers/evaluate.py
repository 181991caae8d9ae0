"""The actor that scores a bundle on held-out posts."""

import pyarrow as pa
import ray

from m3l.config import Config
from m3l.corpus.effects import Formula
from m3l.corpus.world import World
from m3l.data.examples import history_folder, key_frames, load_examples, task_examples
from m3l.data.id_hash import hash_texts
from m3l.data.keyed_rows import open_rows
from m3l.data.schemas import to_table
from m3l.evaluation.corpus_scores import CorpusScores
from m3l.evaluation.evaluator import Evaluator, HeldOutPost
from m3l.evaluation.held_out import truth_folder
from m3l.evaluation.score_schema import SCORES
from m3l.evaluation.text_metrics import DocumentFrequencies
from m3l.inference.simulator import Simulator
from m3l.retriever.embeddings import EmbeddingStore


class EvaluateBundle:
    """A Ray Data actor that holds the bundle and computes the SCORES of a block of post ids.

    Args:
        config: Folders, tasks and, for a synthetic corpus, its settings.
        frequencies: Document frequencies of the held-out captions.
        max_explained_hash: Posts whose id has at most this hash are explained.
    """

    def __init__(self, config: Config, frequencies: "ray.ObjectRef[DocumentFrequencies]", max_explained_hash: int):
        self.config, self.max_explained_hash = config, max_explained_hash
        self.history = history_folder(config.model.history, config.paths.of("history"), config.history)
        self.truth = truth_folder(config.paths.of("corpus"))
        corpus_scores = None
        if self.truth:
            formula = Formula(World.build(config.corpus, config.seed))
            corpus_scores = CorpusScores(formula, EmbeddingStore(config.paths.of("embeddings")), config.retriever.top_k)
        simulator = Simulator.load(config.paths.of("bundle"))
        self.evaluate = Evaluator(simulator, ray.get(frequencies), corpus_scores)

    def __call__(self, block: pa.Table) -> pa.Table:
        paths, ids = self.config.paths, block["post_id"].to_pylist()
        examples = load_examples(paths.of("posts"), paths.of("context"), ids, self.history)
        explained = (hash_texts(ids) <= self.max_explained_hash).tolist()
        posts = [
            HeldOutPost(
                examples=row,
                media=list(key_frames(paths.of("keyframes"), next(iter(row.values())).post)),
                truth=open_rows(self.truth, "post_id")[post_id][0] if self.truth else None,
                explain=explain,
            )
            for post_id, row, explain in zip(ids, task_examples(examples, self.config.tasks), explained, strict=True)
        ]
        return to_table(self.evaluate(posts), SCORES)
