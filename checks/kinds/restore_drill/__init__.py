"""Kind ``restore_drill``: the restore of a backup, and the start of the product against it, with all that serves only that."""
