"""Official weight files to the one file that everything else reads, and back.

    convert(preset, Inputs(odise=..., stable_diffusion=..., clip=...), output)

`sources` reads each kind of file into official names. `convert` adds what is in no file (the embedding of the
empty caption, the noise, the schedule), checks that nothing is missing or left over, and writes tensor by
tensor. `back` writes a diffusers folder or a release-like `.pth` again. Nothing in a file is ever executed,
see `reference.foreign`.
"""
