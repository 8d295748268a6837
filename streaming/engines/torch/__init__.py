"""The torch engine: continuous batching of any decoder-only causal LM, one owner thread per model.

`load` opens a model, `engine` is the handle other threads hold, `worker` is the thread, `scheduler`, `arena` and
`prefixes` decide (no torch in them), `runner` and its neighbours compute.
"""

import os

# Read once, when torch is first imported. By default OpenMP's threads spin while they wait for each other, and fall
# to a fifth of their speed when anything else takes a core. docs/experiments.md has the numbers.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
