# pytest takes `pytest_plugins` from the root conftest only; an entry point beside it would register the plugin twice.
pytest_plugins = ["bench.plugin"]
