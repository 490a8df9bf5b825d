"""What tests and programs import."""
