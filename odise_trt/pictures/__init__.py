"""Reading pictures of any supported format. `image_file` opens a file, `source` takes arrays and open files,
`array_like` arrays of other libraries.

`file_kind` identifies a file by its first bytes. `metadata` removes metadata that pixels do not need. `tiff`
reads tags that Pillow leaves to its caller. `pillow_warnings` hides warnings that users cannot act on.
`encode` makes the bytes of a file.
"""
