"""Files and folders: what is read, where results go, and how they are written whole or not at all."""
