"""The steps that make the staff tables and change them."""
