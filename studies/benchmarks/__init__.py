"""Measurements of the whole app, from outside: each starts it as a child process and speaks HTTP to it."""
