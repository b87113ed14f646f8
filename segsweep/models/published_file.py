"""Published weight files: their place in a cache of this machine, and their download."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from huggingface_hub import constants as hub
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from huggingface_hub.utils import logging as hub_logging
from torch import nn

from segsweep.errors import UserError
from segsweep.fetching import FetchError, fetch_file, reachable, reason_of

REMEDY = "run segsweep fetch STUDY.py on a machine with a network"
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")  # torch.hub's file names hold a prefix of the SHA-256


def caches() -> str:
    """Return the cache folders of weights, as assignments of the variables that set them."""
    return f"HF_HOME={hub.HF_HOME} TORCH_HOME={Path(torch.hub.get_dir()).parent}"


class CachedFile(Protocol):
    """One published file in a cache of this machine."""

    @property
    def place(self) -> Path:
        """The path of the file in the cache, whether or not it exists."""

    @property
    def is_whole(self) -> bool:
        """Whether the file is in the cache. Both caches rename a file to its name after its download is complete."""

    @property
    def host(self) -> str:
        """The URL of the host that serves the file."""

    def fetch(self, progress: Callable[[int, int], None]) -> None:
        """Download the file, and resume an interrupted download. Raises `FetchError`."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the Hugging Face hub, cached in HF_HOME: the first of `names` that exists.

    The files `beside` are downloaded with it if the repository has them.
    """

    repo: str
    revision: str | None
    names: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @property
    def place(self) -> Path:
        """The path of the file in the cache, whether or not it exists."""
        folder = Path(hub.HF_HUB_CACHE) / f"models--{self.repo.replace('/', '--')}" / "snapshots"
        return folder / (self.revision or "COMMIT") / self.names[0]

    @property
    def is_whole(self) -> bool:
        """Whether one of the files is in the cache."""
        found = (try_to_load_from_cache(self.repo, name, hub.HF_HUB_CACHE, self.revision) for name in self.names)
        return any(isinstance(path, str) for path in found) or (self.revision is not None and self.place.is_file())

    @property
    def host(self) -> str:
        """The URL of the host that serves the file."""
        return str(hub.ENDPOINT)

    def fetch(self, progress: Callable[[int, int], None]) -> None:  # noqa: ARG002  # the hub's client shows its own progress
        """Download the file, and the files beside it. Raises `FetchError`."""
        hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # the error below reports a failure once
        try:
            for name in self.names:
                if self._download(name):
                    break
            else:
                raise FetchError(f"{self.host}/{self.repo} has no {' or '.join(self.names)}")
            for name in self.beside:
                self._download(name)
        except FetchError:
            raise
        except Exception as error:  # the client raises a dozen types
            raise FetchError(f"{self.host}/{self.repo}: {reason_of(error)}") from None

    def _download(self, name: str) -> bool:
        try:
            hf_hub_download(self.repo, name, revision=self.revision, cache_dir=hub.HF_HUB_CACHE)
        except RemoteEntryNotFoundError:
            return False
        except LocalEntryNotFoundError as error:  # not in the cache and not downloadable: its cause has the reason
            raise FetchError(f"{self.host}/{self.repo}: {reason_of(error.__cause__ or error)}") from None
        return True


@dataclass(frozen=True)
class UrlFile:
    """A file by its URL, cached in TORCH_HOME."""

    url: str

    @property
    def place(self) -> Path:
        """The path of the file in the cache, whether or not it exists."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    @property
    def is_whole(self) -> bool:
        """Whether the file is in the cache."""
        return self.place.is_file()

    @property
    def host(self) -> str:
        """The URL of the file."""
        return self.url

    def fetch(self, progress: Callable[[int, int], None]) -> None:
        """Download the file. Raises `FetchError`."""
        digest = HASH_IN_NAME.search(self.place.name)
        fetch_file(self.url, self.place, ("sha256", digest[1]) if digest else None, progress)


@dataclass(frozen=True)
class Published:
    """Published weights: a description for messages, their origin, their file, and a function that loads them into a network."""

    what: str
    origin: Mapping[str, str]
    file: CachedFile
    load: Callable[[], nn.Module]

    def network(self) -> nn.Module:
        """Return the network with its weights. Raises `UserError`, which names the file, if they cannot be loaded."""
        hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # the error below reports a failure once
        try:
            return self.load()
        except Exception as error:  # the hubs raise a dozen types: no network, no such file, a broken download
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{self.what} cannot be loaded: {reason}; needs {self.wanted}; {REMEDY}, or use the source file:PATH")

    @property
    def wanted(self) -> str:
        """The file, its origin, and its expected folder, for messages."""
        return f"{self.file.place.name} of {', '.join(self.origin.values())}, expected in {self.file.place.parent}"

    @property
    def can_be_fetched(self) -> bool:
        """Whether the host of the file accepts connections from this machine, and the hub's client is not offline."""
        return not (isinstance(self.file, HubFile) and hub.HF_HUB_OFFLINE) and reachable(self.file.host)
