"""The shared cache: what anyone in a team built, in a place that all of them reach."""
