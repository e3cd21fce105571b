"""Compute the chapters of docs/reproduction.md; ../templates puts them into words."""
