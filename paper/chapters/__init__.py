"""The chapters of docs/reproduction.md: each computes a record, of which a template in ../templates speaks."""
