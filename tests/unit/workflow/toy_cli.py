"""The real command line over the toy stages: ``python toy_cli.py run recipe.yaml ...``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from toy_stages import ROWS

from distill.cli import main
from distill.stages import STAGES

STAGES.rows.clear()
STAGES.rows.update(ROWS)
sys.exit(main())
