"""What a finished job is called: a hash that covers all code that can change its result."""
