"""Files and folders: finding inputs, placing results, and writing files whole or not at all."""
