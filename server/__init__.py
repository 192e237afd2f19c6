"""The roof: alone knows settings, processes and migrations, so that nothing below it has to."""
