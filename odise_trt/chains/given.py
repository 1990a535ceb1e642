"""What the host gives."""
