"""The models that the service ships."""
