"""Making what is evaluated from what can be downloaded."""
