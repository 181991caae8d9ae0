"""The verbs of the `m3l` command in the order of the data: what each does, takes and reads from the configuration."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Argument:
    """A positional argument of a verb.

    Attributes:
        name: How help shows it.
        field: The dotted field of the configuration that it sets.
        meaning: What it is, in half a sentence.
    """

    name: str
    field: str
    meaning: str


@dataclass(frozen=True)
class Verb:
    """One command of `m3l`.

    Attributes:
        summary: What it does, in one sentence.
        example: A command line that works.
        sections: The sections of the configuration that matter to it.
        arguments: Its positional arguments, in order.
        options: Which of --posts, --seed and --media-root its help shows; it accepts all of them.
    """

    summary: str
    example: str
    sections: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()
    options: frozenset[str] = field(default_factory=frozenset)


BUNDLE = Argument("BUNDLE", "paths.bundle", "folder of a trained bundle, as written by `m3l train`")
SEED = frozenset({"seed"})
MEDIA_ROOT = frozenset({"media_root"})

VERBS = {
    "corpus": Verb(
        "Generate the synthetic corpus with its ground truth: media files, table of posts, truth.",
        "m3l corpus runs/demo/corpus --posts 2000 --seed 0",
        ("corpus",),
        (Argument("FOLDER", "paths.corpus", "local folder to write the corpus to"),),
        frozenset({"posts", "seed"}),
    ),
    "ingest": Verb(
        "Read a table of posts (csv, xlsx, jsonl, parquet), validate it and split it.",
        "m3l ingest posts.xlsx runs/mine/posts paths.run=runs/mine",
        ("ingest", "paths"),
        (
            Argument("TABLE", "ingest.table", "the table to read, or a folder with its parts"),
            Argument("POSTS", "paths.posts", "folder to write the posts to"),
        ),
        SEED,
    ),
    "frames": Verb(
        "Fetch and decode every media file and select its key frames.",
        "m3l frames paths.run=runs/mine paths.media_root=media",
        ("media", "paths", "ray"),
        options=MEDIA_ROOT,
    ),
    "train-retriever": Verb(
        "Train CLIP to find the frames that fit a post's metadata.",
        "m3l train-retriever paths.run=runs/mine retriever.epochs=3",
        ("retriever", "train", "ray"),
        options=SEED,
    ),
    "compare-retrievers": Verb(
        "Train retrievers with different losses on several seeds and compare their retrieval.",
        "m3l compare-retrievers paths.run=runs/demo compare.seeds=3",
        ("compare", "retriever"),
        options=SEED,
    ),
    "retrieve": Verb(
        "Embed the key frames and select those that fit each post and task best.",
        "m3l retrieve paths.run=runs/mine retriever.top_k=10",
        ("retriever", "tasks", "ray"),
    ),
    "history": Verb(
        "Collect, for each post, the history of its account up to that post.",
        "m3l history --config challenge",
        ("history", "ray"),
    ),
    "assemble": Verb(
        "Combine a packaged language model with randomly initialised vision parts into a checkpoint.",
        "m3l assemble checkpoints/smollm2 --config smollm2",
        ("assemble", "model"),
        (Argument("FOLDER", "model.checkpoint", "local folder to write the checkpoint to"),),
        SEED,
    ),
    "plan": Verb(
        "Estimate what training takes: parameters, memory of each GPU, FLOPs, time. Loads no weights.",
        "m3l plan --config vicuna-7b plan.gpu=h200",
        ("plan", "model", "train"),
    ),
    "train": Verb(
        "Train M3L with Algorithm 1 and write the bundle.",
        "m3l train paths.run=runs/mine train.epochs=5",
        ("train", "model", "tasks", "ray"),
        options=SEED,
    ),
    "tune": Verb(
        "Run a sweep over fields of the configuration.",
        "m3l tune paths.run=runs/demo tune.search=grid 'tune.space={train.cut: [30.0, 50.0]}'",
        ("tune", "train", "model", "retriever"),
        options=SEED,
    ),
    "evaluate": Verb(
        "Evaluate the bundle on held-out posts and write the report.",
        "m3l evaluate paths.run=runs/mine evaluate.bootstrap=500",
        ("evaluate", "ray"),
    ),
    "predict": Verb(
        "Predict likes and captions for a table of posts.",
        "m3l predict runs/mine/bundle later.csv predictions.csv",
        ("predict", "ingest", "media", "history", "ray"),
        (
            BUNDLE,
            Argument("TABLE", "predict.table", "the table of posts to read"),
            Argument("OUT", "predict.out", "the table to write: .csv, .xlsx, .jsonl, .parquet, or a folder"),
        ),
        MEDIA_ROOT,
    ),
    "serve": Verb(
        "Serve a bundle over HTTP, with a page to try it on.",
        "m3l serve runs/demo/bundle serve.port=8000",
        ("serve", "media", "ray"),
        (BUNDLE,),
        MEDIA_ROOT,
    ),
    "export": Verb(
        "Write the bundle's model, LoRA merged, as a folder that transformers loads.",
        "m3l export runs/mine/bundle exported",
        ("export",),
        (BUNDLE, Argument("FOLDER", "export.out", "folder to write the model to")),
    ),
    "demo": Verb(
        "Run everything on this machine, from a synthetic corpus to a served bundle.",
        "m3l demo paths.run=runs/demo --seed 0",
        ("paths", "corpus", "train", "tune", "evaluate"),
        options=frozenset({"posts", "seed"}),
    ),
}
