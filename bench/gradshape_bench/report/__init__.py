"""What people look at: pages, tables and pictures of what was measured."""
