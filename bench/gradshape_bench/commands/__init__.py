"""The commands of ``gradshape``: a module each, with its arguments and what it does with them.

:mod:`gradshape_bench.commands.catalogue` lists them; a module is imported when its command is used.
"""
