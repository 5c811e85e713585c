"""The recipe: every choice of one family, read strictly."""
