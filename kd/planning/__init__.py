"""Recipes proposed from a data set or an nnU-Net results folder."""
