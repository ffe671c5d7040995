"""What a run leaves in files: one record a case, privacy spent included, and notes for runs that come after it."""
