"""A stand-in for the W&B server on loopback, for tests that run the real `wandb` client against it."""

from wandb_server.faults import Down, LoseAnswer, RateLimit, Refuse, Silent, Slow, When
from wandb_server.isolation import isolated_server
from wandb_server.server import WandbServer

__all__ = ["Down", "LoseAnswer", "RateLimit", "Refuse", "Silent", "Slow", "WandbServer", "When", "isolated_server"]
