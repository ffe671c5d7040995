"""The rows of a training: which there are, in which order they come, and in which form they lie on the device."""
