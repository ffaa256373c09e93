import unicodedata


def visible(text: str) -> str:
    r"""`text` in one line that only shows something: whatever in it would control a terminal, hide, or turn the order
    of what stands beside it is written as its escape (`\x1b`, `\u202e`).
    """
    return "".join(map(_shown, text))


def _shown(char: str) -> str:
    # Of what Python does not call printable, spaces of all widths are harmless.
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    return char.encode("unicode_escape").decode()
