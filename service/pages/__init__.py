"""Pages for people. They need nothing from other hosts, and their policies let them ask for nothing there."""
