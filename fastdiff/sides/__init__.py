"""The two things that a pair compares: what a person names, made into an environment that can run a worker.

Torch is never imported here; what an environment holds is asked of its own interpreter.
"""
