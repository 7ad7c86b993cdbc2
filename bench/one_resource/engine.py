"""`python -m bench.one_resource.engine up|destroy STACK`: the engine without the CLI, with this folder's program."""

import sys
from pathlib import Path

from rehearsal import engine

if __name__ == "__main__":
    vars(engine)["PROJECT_ROOT"] = Path(__file__).parent  # where the engine looks for __main__.py
    sys.exit(engine.main(sys.argv[1:]))
