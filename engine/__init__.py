"""Taste to text: a frozen local model, the methods that personalise it, and the one decoder they share."""
