import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "stand_in"))  # before SpliceAI, should it be installed
