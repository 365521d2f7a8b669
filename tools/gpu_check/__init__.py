"""What the first minutes with a GPU are for: `python -m tools.gpu_check` measures in two parts of seven minutes.

`steps` lists what is measured, `reading` turns it into numbers and claims, `report` writes them down.
"""
