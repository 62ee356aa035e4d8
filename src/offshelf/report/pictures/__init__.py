"""Pictures: charts, tiles and heat maps as PNG or SVG bytes."""
