"""Reading pictures, whatever their file: `image_file` opens one, `source` takes arrays and open files.

`file_kind` names a file by its first bytes, `metadata` leaves out what pixels do not need, `tiff` reads what
Pillow leaves to its caller, and `pillow_warnings` keeps warnings from people who cannot act on them. `encode`
makes the bytes of a file.
"""
