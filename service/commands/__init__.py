"""One file for each sub-command of `headwater`. They parse and print; the work is done elsewhere."""
