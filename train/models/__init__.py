"""The networks of the thesis. `registry` lists them without torch; the other modules build them."""
