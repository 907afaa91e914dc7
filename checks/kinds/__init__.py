"""One file answers one ``kind:`` of a checklist; the file is named like the kind. Kinds do not know of each other.

A vendor's package is imported inside the function that needs it, so that a kind which is not used costs nothing.
"""
