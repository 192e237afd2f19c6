"""The engines that come along: found, started, adopted and stopped here, so a newcomer installs none."""
