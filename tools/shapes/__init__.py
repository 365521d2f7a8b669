"""How the embedded model was made: its architecture, its training, and the score of its pictures."""
