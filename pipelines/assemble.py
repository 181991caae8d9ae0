"""A packaged language model and randomly initialised vision parts -> a checkpoint directory for `model.checkpoint`."""

from pathlib import Path

from m3l.config import Config, ConfigError
from m3l.model.assemble import assemble, packaged_gguf
from pipelines.runtime.console import console, show_done


def main(config: Config) -> None:
    """Write the directory that `model.checkpoint` names, with a vision encoder and Q-Former of `model.tiny`'s sizes.

    Raises:
        ConfigError: `model.checkpoint` is no local folder.
    """
    out = config.model.checkpoint
    if out is None or "://" in out:
        raise ConfigError("model.checkpoint: name the local folder to write, as in `m3l assemble OUT`")
    if (Path(out) / "config.json").exists():
        show_done("assemble", out)
        return
    gguf = Path(config.assemble.gguf) if config.assemble.gguf else packaged_gguf()
    model = assemble(
        Path(out), gguf, config.model.tiny, config.model.tformer_layers, config.model.head_hidden, config.seed
    )
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    console.print(f"[bold]assemble[/]: {gguf.name}, {millions:,.0f} M parameters with its new vision parts -> {out}")


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
