"""The torch engine: continuous batching of any decoder-only causal LM, one owner thread per model.

`load` opens a model, `engine` is the handle other threads hold, `worker` is the thread, `scheduler`, `arena` and
`prefixes` decide (no torch in them), `runner` and its neighbours compute.
"""
