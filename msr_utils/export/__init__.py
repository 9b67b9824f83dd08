"""From trained models to bundles that the service loads."""
