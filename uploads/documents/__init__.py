"""Files understood: text with pages and headings out of bytes, one module for each format. Knows no index, no model."""
