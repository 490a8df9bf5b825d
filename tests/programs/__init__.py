"""What runs in processes of its own: `python -m programs.NAME`, from the folder of the tests."""
