"""The floor: what every other package stands on, so it may import none of them."""
