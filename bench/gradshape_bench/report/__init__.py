"""Reports: pages, tables and pictures of what was measured."""
