"""One process that builds a stage and measures it: how a trial is run, here or elsewhere."""
