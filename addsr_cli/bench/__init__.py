"""How fast is a model, and how good are its pictures? Measurements, and the report of them."""
