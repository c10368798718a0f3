"""The real command line over the toy stages of searches: ``python toy_search_cli.py search recipe.yaml ...``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from toy_search import ROWS

from distill.cli import main
from distill.stages import STAGES

STAGES.rows.clear()
STAGES.rows.update(ROWS)
sys.exit(main())
