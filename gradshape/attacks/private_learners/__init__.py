"""Ma et al. 2019: edits of the rows of a learner that is differentially private."""
