"""What to show next: recommenders of the same taste. `hierarchy` is their softmax, `item_lm` reads items as tokens."""
