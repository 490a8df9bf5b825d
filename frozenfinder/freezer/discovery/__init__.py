"""From what is asked for to a plan: what to freeze, found without running it."""
