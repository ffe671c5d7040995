"""What is raised where parts do not go together, such as an attack on two classes and a task of ten."""


class Unsuitable(ValueError):
    """An attack, a defence or an experiment cannot be used on this task; the message says why.

    Nothing is broken: harnesses leave such a combination out, or skip it with this reason.
    """
