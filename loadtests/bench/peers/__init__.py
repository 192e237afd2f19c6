"""The ways others take orders, each as fast as it gets: what ours is measured beside."""
