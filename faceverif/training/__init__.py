"""Training: the only place that knows Lightning Fabric."""
