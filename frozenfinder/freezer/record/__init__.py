"""Running a command, and recording what it imports and opens."""
