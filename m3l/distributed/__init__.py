"""DDP, FSDP2 and collectives, applied to a plain model from outside."""
