"""From a manifest to a plan: finds what to freeze, without running it."""
