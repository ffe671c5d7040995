"""The harness: declares cases, plans and runs their jobs, judges and reports. It is used as pytest."""
