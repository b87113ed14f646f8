"""`python tests/wandb_server FOLDER [PORT]`: keep a server running, for notebooks; it prints the settings of its clients."""

import contextlib
import shlex
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from wandb_server import WandbServer


def main() -> None:
    """Serve what lies in the folder until interrupted."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with WandbServer(folder, port) as server:
        for name, value in server.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
