"""Images and videos: formats, inputs, files, grids."""
