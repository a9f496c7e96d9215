"""The one kind of error that a user can mend."""


class InputError(Exception):
    """Bad input, explained in one line a mistake: the file or key, what is wrong, and the remedy."""
