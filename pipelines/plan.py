"""configuration -> what its training costs: memory, FLOPs, time; nothing is loaded, nothing is run."""

from rich.table import Table

from m3l.config import Config
from m3l.cost.estimate import GIB, CostEstimate, cache_line, estimate_cost
from pipelines.runtime.console import console


def main(config: Config) -> CostEstimate:
    """Print parameters, memory of each GPU, FLOPs and time of a configuration with a checkpoint."""
    estimate = estimate_cost(config)
    console.print(f"[bold]plan[/]: {config.model.checkpoint}, {config.model.dtype}", highlight=False)
    console.print(_parts(estimate), _memory(estimate, config), _flops(estimate, config))
    settings = config.plan
    for checkpointing in (False, True):
        hours = [f"{g} GPU {estimate.seconds(1000, g, checkpointing):,.0f} s" for g in settings.gpus]
        name = "with" if checkpointing else "without"
        console.print(f"1,000 posts {name} activation checkpointing: {', '.join(hours)}", highlight=False)
    console.print(
        f"Computed with {settings.mfu:.0%} of the {settings.gpu}'s peak in bf16 under autocast, {config.train.frames} "
        f"frames, prompts of {settings.prompt_tokens} and captions of {settings.caption_tokens} tokens; CUDA itself "
        "and what its allocator leaves unused come on top of the memory.",
        highlight=False,
    )
    console.print(cache_line(estimate, 1000 * config.train.frames), highlight=False)
    return estimate


def _parts(estimate: CostEstimate) -> Table:
    table = Table("part", "parameters", "adapters", "trains", "GiB", title="parameters in millions")
    rows = [(p.name, p.parameters, p.adapters, p.trainable, p.bytes) for p in estimate.parts]
    rows.append(("all", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True))))  # type: ignore[arg-type]
    for name, *counts, size in rows:
        table.add_row(name, *(f"{count / 1e6:,.2f}" for count in counts), f"{size / GIB:.2f}")
    return table


def _memory(estimate: CostEstimate, config: Config) -> Table:
    gpus = config.plan.gpus
    table = Table("", *(f"{n} GPU" for n in gpus), title=f"GiB of each GPU, {estimate.batch_size} posts on each")
    for strategy in ("ddp", "fsdp"):
        for checkpointing in (False, True):
            name = f"{strategy}{', activation checkpointing' if checkpointing else ''}"
            table.add_row(name, *(f"{estimate.gpu_bytes(strategy, n, checkpointing) / GIB:.1f}" for n in gpus))
    return table


def _flops(estimate: CostEstimate, config: Config) -> Table:
    table = Table("part", "forward", "step", "again, with checkpointing", title="GFLOPs of a post")
    for cost in estimate.costs:
        numbers = (cost.forward_flops, cost.step_flops, cost.recompute_flops)
        table.add_row(cost.name, *(f"{number / 1e9:,.0f}" for number in numbers))
    return table


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
