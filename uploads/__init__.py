"""Files in, documents and jobs out. Knows no model."""
