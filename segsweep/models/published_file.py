"""Published files of weights: where each is looked for on this machine, and how it gets there."""

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

REMEDY = "where there is a network, segsweep fetch STUDY.py downloads it"
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")  # torch.hub's: how the SHA-256 begins


def caches() -> str:
    """Return the folders in which weights are looked for, as the variables that name them."""
    return f"HF_HOME={hub.HF_HOME} TORCH_HOME={Path(torch.hub.get_dir()).parent}"


class CachedFile(Protocol):
    """One file in a cache of this machine."""

    @property
    def place(self) -> Path:
        """Where it is looked for."""

    @property
    def is_whole(self) -> bool:
        """Whether it is there. Both caches give a file its name once it is whole."""

    @property
    def host(self) -> str:
        """The URL of the host that has it."""

    def fetch(self, progress: Callable[[int, int], None]) -> None:
        """Download it, from where an earlier download was broken off. Raises `FetchError`."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the Hugging Face hub, in HF_HOME; the first of `names` that there is.

    `beside` is fetched with it where the repository has it.
    """

    repo: str
    revision: str | None
    names: tuple[str, ...]
    beside: tuple[str, ...] = ()

    @property
    def place(self) -> Path:
        """Where it is looked for."""
        folder = Path(hub.HF_HUB_CACHE) / f"models--{self.repo.replace('/', '--')}" / "snapshots"
        return folder / (self.revision or "COMMIT") / self.names[0]

    @property
    def is_whole(self) -> bool:
        """Whether one of the files is there."""
        found = (try_to_load_from_cache(self.repo, name, hub.HF_HUB_CACHE, self.revision) for name in self.names)
        return any(isinstance(path, str) for path in found) or (self.revision is not None and self.place.is_file())

    @property
    def host(self) -> str:
        """The URL of the host that has it."""
        return str(hub.ENDPOINT)

    def fetch(self, progress: Callable[[int, int], None]) -> None:  # noqa: ARG002  # the hub's client shows its own
        """Download it, and what lies beside it. Raises `FetchError`."""
        hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # the error says it once
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
        except Exception as error:  # the client raises a dozen kinds
            raise FetchError(f"{self.host}/{self.repo}: {reason_of(error)}") from None

    def _download(self, name: str) -> bool:
        try:
            hf_hub_download(self.repo, name, revision=self.revision, cache_dir=hub.HF_HUB_CACHE)
        except RemoteEntryNotFoundError:
            return False
        except LocalEntryNotFoundError as error:  # neither in the cache nor to be had: the cause says why
            raise FetchError(f"{self.host}/{self.repo}: {reason_of(error.__cause__ or error)}") from None
        return True


@dataclass(frozen=True)
class UrlFile:
    """A file by its URL, in TORCH_HOME."""

    url: str

    @property
    def place(self) -> Path:
        """Where it is looked for."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    @property
    def is_whole(self) -> bool:
        """Whether it is there."""
        return self.place.is_file()

    @property
    def host(self) -> str:
        """The URL of the host that has it."""
        return self.url

    def fetch(self, progress: Callable[[int, int], None]) -> None:
        """Download it. Raises `FetchError`."""
        digest = HASH_IN_NAME.search(self.place.name)
        fetch_file(self.url, self.place, ("sha256", digest[1]) if digest else None, progress)


@dataclass(frozen=True)
class Published:
    """Published weights: what they are in words, where they come from, their file, and how the network with them is built."""

    what: str
    origin: Mapping[str, str]
    file: CachedFile
    load: Callable[[], nn.Module]

    def network(self) -> nn.Module:
        """Return the network with its weights. Raises `UserError` that names the file where it cannot be had."""
        hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # the error below reports its retries once
        try:
            return self.load()
        except Exception as error:  # the hubs raise a dozen kinds: no network, no such file, a broken download
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{self.what} cannot be had: {reason}; wanted is {self.wanted}; {REMEDY}, or give it as source file:PATH")

    @property
    def wanted(self) -> str:
        """The file, where it comes from, and where it is looked for."""
        return f"{self.file.place.name} of {', '.join(self.origin.values())}, looked for in {self.file.place.parent}"

    @property
    def can_be_fetched(self) -> bool:
        """Whether the host of the file takes connections from here, and the hub's client may ask it."""
        return not (isinstance(self.file, HubFile) and hub.HF_HUB_OFFLINE) and reachable(self.file.host)
