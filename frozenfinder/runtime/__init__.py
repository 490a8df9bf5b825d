"""What every boot imports: built-in modules only, and its own lower layers."""
