"""Ma et al. 2019: edits of the training rows of differentially private learners."""
