"""The colours of the polytopes, and their D_i as fractions."""

COLOURS = {
    "single": "#000000", "tetrahedron": "#cc79a7", "triangle": "#009e73", "digon": "#d55e00", "pentagon": "#56b4e9",
    "square antiprism": "#e69f00",
}  # fmt: skip
FRACTIONS = dict(zip(COLOURS, ("1", "3/4", "2/3", "1/2", "2/5", "3/8"), strict=True))
